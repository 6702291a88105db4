"""Who may ask over TCP: real MUNGE daemons, a real service, and credentials that must not be believed."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from decision_service import ALICE, Service, as_uid, eventually, job_report, node_sample, plan_query

from tierwise.errors import CredentialError, RefusedError
from tierwise.messages import DryRunQuery
from tierwise.munge import Munge, digest
from tierwise.units import MIB

NODES = "/v1/nodes"


@pytest.fixture(scope="module")
def service(munges: tuple[Path, Path]) -> Iterator[Service]:
    """One that listens on TCP too."""
    running = Service(munge=munges[0]).start()
    yield running
    running.remove()


@pytest.fixture
def munge(munges: tuple[Path, Path]) -> Munge:
    return Munge(str(munges[0]))


def request(service: Service, credential: str | None, nonce: str, path: str = NODES) -> httpx.Response:
    headers = {"X-Tierwise-Nonce": nonce} | ({"Authorization": f"MUNGE {credential}"} if credential else {})
    return httpx.get(f"{service.url}{path}", headers=headers, timeout=30)


def payload(nonce: str, path: str = NODES) -> bytes:
    return digest(b"request", b"GET", path.encode(), b"", nonce.encode())


def test_an_agent_over_tcp(service: Service, munge: Munge) -> None:
    with service.tcp_client(munge) as agent:
        agent.sample(node_sample())
        assert agent.plan(plan_query(1, directive="cap", memory=300 * MIB)).plan
        agent.report(job_report(1))
        assert [job.job_id for job in agent.jobs("ended", limit=5)] == [1]
        assert agent.job(1).state == "ended"
        assert agent.health().ok
        with pytest.raises(RefusedError, match="not known") as refused:  # errors are signed too
            agent.job(999)
        assert refused.value.status == 404


def test_a_user_over_tcp_is_who_munge_says(service: Service, munge: Munge) -> None:
    with service.tcp_client(munge) as user, as_uid(ALICE):
        assert user.nodes() is not None
        assert user.dry_run(DryRunQuery("cap", MIB)) is not None
        with pytest.raises(RefusedError, match=f"uid {ALICE} is no agent"):
            user.sample(node_sample())


def test_an_answer_by_another_uid_is_not_believed(service: Service, munge: Munge) -> None:
    with service.tcp_client(munge, service_uids=(ALICE,)) as agent, pytest.raises(CredentialError, match="uid 0"):
        agent.nodes()


@pytest.mark.parametrize("path", [NODES, "/v1/jobs", "/v1/jobs/1"])
def test_without_a_credential(service: Service, path: str) -> None:
    answer = httpx.get(service.url + path, timeout=30)
    assert answer.status_code == 401
    assert answer.json()["status_code"] == 401
    assert answer.headers["www-authenticate"] == "MUNGE"
    assert httpx.post(service.url + "/v1/plans", content=b"{}", timeout=30).status_code == 401


def test_what_anybody_may_ask(service: Service) -> None:
    assert httpx.get(service.url + "/healthz", timeout=30).json()["ok"] is True
    assert "tierwise_nodes_up" in httpx.get(service.url + "/metrics", timeout=30).text


def test_a_replayed_credential(service: Service, munge: Munge) -> None:
    nonce = secrets.token_hex(16)
    credential = munge.encode(payload(nonce))
    assert request(service, credential, nonce).status_code == 200
    again = request(service, credential, nonce)
    assert again.status_code == 401
    assert "eplayed" in again.json()["detail"]


def test_a_credential_for_another_request(service: Service, munge: Munge) -> None:
    nonce = secrets.token_hex(16)
    for path, other_nonce in [("/v1/jobs", nonce), (f"{NODES}?a=b", nonce), (NODES, secrets.token_hex(16))]:
        answer = request(service, munge.encode(payload(nonce)), other_nonce, path)
        assert answer.status_code == 401
        assert "another request" in answer.json()["detail"]
    body = digest(b"request", b"POST", b"/v1/samples", b"{}", nonce.encode())
    headers = {"X-Tierwise-Nonce": nonce, "Authorization": f"MUNGE {munge.encode(body)}"}
    assert httpx.post(f"{service.url}/v1/samples", content=b"{} ", headers=headers, timeout=30).status_code == 401


def test_a_foreign_credential(service: Service, munges: tuple[Path, Path]) -> None:
    nonce = secrets.token_hex(16)
    answer = request(service, Munge(str(munges[1])).encode(payload(nonce)), nonce)
    assert answer.status_code == 401
    assert "not accepted" in answer.json()["detail"]


def test_an_expired_credential(service: Service, munges: tuple[Path, Path], tmp_path: Path) -> None:
    """With a life of 1 s. Each can be tried once only, so there are many, all made now."""
    nonce = secrets.token_hex(16)
    (tmp_path / "payload").write_bytes(payload(nonce))
    make = ["munge", "-S", str(munges[0]), "--ttl", "1", "-i", str(tmp_path / "payload")]
    credentials = iter([subprocess.check_output(make, text=True).strip() for _ in range(300)])
    answer = eventually(lambda: next((a for a in [request(service, next(credentials), nonce)] if a.is_error), None))
    assert answer.status_code == 401
    assert "xpired" in answer.json()["detail"]


@pytest.mark.parametrize(
    "authorization", ["MUNGE", "MUNGE junk", "Basic YTpi", "MUNGE MUNGE:" + "A" * 5000, "MUNGE \xe4"]
)
def test_junk_for_a_credential(service: Service, authorization: str) -> None:
    headers = {"X-Tierwise-Nonce": "0" * 32, "Authorization": authorization.encode("latin-1")}
    assert httpx.get(service.url + NODES, headers=headers, timeout=30).status_code == 401


@pytest.mark.parametrize("nonce", ["", "0" * 31, "0" * 33, "x" * 32])
def test_junk_for_a_nonce(service: Service, munge: Munge, nonce: str) -> None:
    assert request(service, munge.encode(payload(nonce)), nonce).status_code == 401


def test_munged_is_gone(make_service: Callable[..., Service], tmp_path: Path, munge: Munge) -> None:
    """TCP is then refused, and the hook does not notice."""
    service = make_service(munge=tmp_path / "nobody.sock").start()
    nonce = secrets.token_hex(16)
    answer = request(service, munge.encode(payload(nonce)), nonce)
    assert answer.status_code in (401, 503)
    assert service.submit("cap")["status"] == "ok"

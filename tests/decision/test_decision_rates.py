"""Rate limits: a user who asks too often is told so; nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from decision_service import ALICE, BOB, Service, as_uid, node_sample

from tierwise.config import Config, ServiceConfig
from tierwise.errors import RefusedError
from tierwise.munge import Munge
from tierwise_decision.bodies import HttpError
from tierwise_decision.rates import Rates
from tierwise_decision.settings import Settings

REFUSED = 'tierwise_complaints_total{kind="rate"}'


def test_a_bucket_fills_again_and_never_overflows() -> None:
    now = [0.0]
    rates = Rates(Settings(Config(service=ServiceConfig(user_rate=2.0))), lambda: now[0])

    for seconds, more in ((0.0, 20), (1.0, 2), (1e6, 20)):
        now[0] += seconds
        for _ in range(more):
            rates.take(ALICE)
        with pytest.raises(HttpError, match="wait 1 s") as refused:
            rates.take(ALICE)
        assert (refused.value.status, refused.value.headers) == (429, [(b"retry-after", b"1")])
    for _ in range(100):
        rates.take(0)  # root: agents, and the hook


def test_each_user_has_a_share(make_service: Callable[..., Service], munges: tuple[Path, Path]) -> None:
    """One request in a thousand seconds: over the unix socket and TCP together, for ALICE, and another for BOB."""
    service = make_service(munge=munges[0], config="user_rate = 0.001").start()
    with as_uid(ALICE), service.http() as http:
        assert http.get("/v1/nodes").status_code == 200
        refused = http.get("/v1/nodes")
    assert (refused.status_code, refused.headers["retry-after"].isdigit()) == (429, True)
    assert f"uid {ALICE} has asked more than 0.001 times a second" in refused.json()["detail"]
    with service.tcp_client(Munge(str(munges[0]))) as client:
        assert client.nodes() == []  # as root
        with as_uid(ALICE), pytest.raises(RefusedError, match="asked more than") as proven:
            client.nodes()
    assert proven.value.status == 429
    with as_uid(BOB), service.http() as http:
        assert http.get("/v1/nodes").status_code == 200
    with service.client() as agent:
        for _ in range(5):
            agent.sample(node_sample())
    for _ in range(5):
        assert service.submit("cap", uid=ALICE)["status"] == "ok"
    assert service.counted(REFUSED) == 2

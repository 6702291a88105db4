"""Bad input: refused where it is given, with one clear line; junk and strangers at the sockets change nothing."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from asking import PATIENCE_S, as_user, ask_as, plan_of, queued

from tierwise.errors import ProtocolError, RefusedError, UnavailableError
from tierwise.local import ask
from tierwise_lab import accounts
from tierwise_lab.commands import ALICE, BOB
from tierwise_lab.daemons import wait_until
from tierwise_lab.stack import Stack

BAD = {
    "empty": "",
    "unknown class": "fast",
    "negative size": "lat:-1G",
    "zero size": "lat:0",
    "overflowing size": "lat:99999999999999999999T",
    "no number": "lat:many",
    "fraction": "lat:1.5G",
    "percentage over 100": "lat:101%",
    "zero percent": "lat:0%",
    "percentages over 100 together": "lat:60%,bw:60%",
    "two classes without a size": "lat,bw",
    "a class twice": "lat:1G,lat:2G",
    "auto beside a class": "auto,lat",
    "shell": "lat;reboot",
    "blank": "lat, bw:1G",
    "newline": "lat\nbw",
    "not ASCII": "lät",
    "10,000 classes": ",".join(["lat:1M"] * 10_000),
}
IN_SCRIPTS = {
    "unknown class": b"fast",
    "two classes without a size": b"lat,bw",
    "10,000 classes": BAD["10,000 classes"].encode(),
    "1 MB": b"x" * (1 << 20),
    "escape sequences": b"lat\x1b[2J",
}


def one_clear_line(stack: Stack, done: subprocess.CompletedProcess[str], known: set[str]) -> str:
    """The one line that says why a submission was refused; nothing of it is in the queue."""
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert len(lines[0]) < 400
    assert lines[0].isprintable()
    assert queued(stack) == known
    return lines[0]


@pytest.mark.parametrize("command", ["sbatch", "srun", "salloc"])
@pytest.mark.parametrize("bad", BAD)
def test_refused_at_the_terminal(stack: Stack, command: str, bad: str) -> None:
    known = queued(stack)
    program = ["--wrap", "true"] if command == "sbatch" else ["true"]
    line = one_clear_line(stack, stack.run([command, f"--tier={BAD[bad]}", *program]), known)
    assert "--tier" in line


@pytest.mark.parametrize("bad", IN_SCRIPTS)
def test_refused_in_a_script(stack: Stack, bad: str) -> None:
    known = queued(stack)
    script = stack.layout.home(ALICE) / "bad.sh"
    script.write_bytes(b"#!/bin/sh\n#SBATCH --tier=" + IN_SCRIPTS[bad] + b"\ntrue\n")
    one_clear_line(stack, stack.run(["sbatch", str(script)]), known)


def test_a_nul_byte_in_a_script(stack: Stack) -> None:
    """Slurm refuses the script before our plugin sees it, in words of its own."""
    known = queued(stack)
    script = stack.layout.home(ALICE) / "bad.sh"
    script.write_bytes(b"#!/bin/sh\n#SBATCH --tier=lat\0bw\ntrue\n")
    done = stack.run(["sbatch", str(script)])
    assert done.returncode != 0
    assert "NULL character" in done.stderr
    assert queued(stack) == known


def test_more_than_the_jobs_own_memory_is_refused(stack: Stack) -> None:
    known = queued(stack)
    done = stack.run(["sbatch", "--tier=cap:2G", "--mem=300M", "--wrap", "true"])
    assert done.returncode != 0
    assert "--mem" in done.stderr
    assert "tierwise" in done.stderr
    assert queued(stack) == known


def test_more_than_the_default_memory_is_clipped_with_a_notice(stack: Stack) -> None:
    done = stack.run(["sbatch", "--parsable", "--tier=cap:2G", "--wrap", "true"])
    assert done.returncode == 0, done.stderr
    assert "tierwise" in done.stderr
    assert stack.job(int(done.stdout))["TresPerNode"] == "gres:tier_dram:256"


# --- somebody else's job ------------------------------------------------------------------------------------------


@pytest.fixture
def alices_job(stack: Stack) -> tuple[int, str]:
    """A running job of alice's and the node it is on."""
    job = stack.sbatch("#!/bin/sh\nsleep 60\n", "--tier=cap", "--mem=300M")
    node = stack.wait(job, "RUNNING")["BatchHost"]
    plan_of(stack, job, node)
    return job, node


def test_anothers_job_at_the_agent(stack: Stack, alices_job: tuple[int, str]) -> None:
    job, node = alices_job
    path = stack.layout.agent_socket(node)
    alice, bob = accounts.ids(ALICE)[0], accounts.ids(BOB)[0]
    assert ask_as(ALICE, path, {"op": "job", "job_id": job})["status"] == "ok"
    task = {"op": "task", "job_id": job, "step": 0, "tier": "lat", "mem": 0, "restart": 0, "policy_set": 0}
    prolog = {"op": "prolog", "job_id": job, "uid": bob, "comment": "", "tier": "lat", "restart": 1}
    for question in (
        {"op": "job", "job_id": job},
        {**task, "uid": bob},
        {**task, "uid": alice},
        prolog,
        {"op": "epilog", "job_id": job, "uid": bob},
        {"op": "exit", "job_id": job, "step": 0},
    ):
        with pytest.raises(RefusedError):
            ask_as(BOB, path, question)
    # Not even the owner speaks for Slurm, or for a task that isn't in the job.
    for question in (prolog, {"op": "epilog", "job_id": job, "uid": alice}, {**task, "uid": alice}):
        with pytest.raises(RefusedError):
            ask_as(ALICE, path, question)
    assert plan_of(stack, job, node).size == 300 << 20


def test_the_hook_socket_is_slurms(stack: Stack) -> None:
    question = {"op": "submit", "nonce": "0" * 32, "uid": 0, "tier": "cap", "mem": 0, "mem_from": "unknown"}
    with pytest.raises((RefusedError, ProtocolError, UnavailableError)):
        ask_as(BOB, stack.layout.hook_socket, question)


def test_anothers_job_at_the_service(stack: Stack, alices_job: tuple[int, str]) -> None:
    job, _ = alices_job
    wait_until(lambda: get_as(ALICE, stack, f"/v1/jobs/{job}") == 200, "the service to know the job", 60)
    assert get_as(BOB, stack, f"/v1/jobs/{job}") in (403, 404)


def get_as(user: str, stack: Stack, path: str) -> int:
    """The status of a GET on the service's unix socket, as `user`."""
    return as_user(user, status_of_get, str(stack.layout.decision_socket), path)


def status_of_get(sock: str, path: str) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=sock)) as client:
        return client.get(f"http://service{path}").status_code


@pytest.mark.parametrize("path", ["/v1/nodes", "/v1/jobs", "/v1/jobs/1"])
def test_nobody_without_a_credential_over_tcp(stack: Stack, path: str) -> None:
    assert httpx.get(f"{stack.service_url}{path}").status_code == 401
    junk = {"Authorization": "MUNGE MUNGE:junk:", "X-Tierwise-Nonce": "0" * 32}
    assert httpx.get(f"{stack.service_url}{path}", headers=junk).status_code == 401


@pytest.mark.parametrize("path", ["/v1/reports", "/v1/samples", "/v1/plans"])
def test_only_agents_report(stack: Stack, path: str) -> None:
    assert httpx.post(f"{stack.service_url}{path}", content=b"{}").status_code == 401
    status = as_user(BOB, status_of_post, str(stack.layout.decision_socket), path)
    assert status == 403


def status_of_post(sock: str, path: str) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=sock)) as client:
        return client.post(f"http://service{path}", content=b"{}").status_code


# --- junk at every socket -----------------------------------------------------------------------------------------

JUNK = {
    "nothing": b"",
    "half a message": b"op=job\njob_",
    "bytes": bytes(range(256)) * 64,
    "a line without end": b"a" * (1 << 20),
    "too many keys": b"".join(b"k%d=1\n" % number for number in range(10_000)) + b"\n",
    "unknown operation": b"op=shutdown\n\n",
    "no operation": b"job_id=1\n\n",
    "numbers that are none": b"op=job\njob_id=-1\n\n",
    "a huge number": b"op=job\njob_id=" + b"9" * 60_000 + b"\n\n",
    "path in the id": b"op=job\njob_id=../../etc\n\n",
    "half a request of HTTP": b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\n",
    "a body that never comes": b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n{",
    "deep JSON": b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
}


SOCKETS = ("agent", "hook", "service", "tcp")


def target(stack: Stack, which: str) -> tuple[str, Path | None]:
    """A daemon's name and a unix socket of it; None is its TCP port."""
    node = stack.nodes[0].name
    return {
        "agent": (f"agent-{node}", stack.layout.agent_socket(node)),
        "hook": ("decision", stack.layout.hook_socket),
        "service": ("decision", stack.layout.decision_socket),
        "tcp": ("decision", None),
    }[which]


@contextmanager
def connected(stack: Stack, path: Path | None) -> Iterator[socket.socket]:
    if path is None:
        host, _, port = stack.service_url.removeprefix("http://").partition(":")
        peer = socket.create_connection((host, int(port)), timeout=5)
    else:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(5)
        peer.connect(str(path))
    with peer:
        yield peer


@pytest.mark.parametrize("which", SOCKETS)
def test_junk_leaks_nothing(stack: Stack, which: str) -> None:
    name, path = target(stack, which)
    daemon = stack.daemons[name]
    pid = daemon.pid
    before = descriptors(pid)
    for junk in JUNK.values():
        for _ in range(10):
            with connected(stack, path) as peer:
                try:
                    peer.sendall(junk)
                except OSError:
                    continue  # it hung up on us in the middle: its right
    assert daemon.pid == pid
    wait_until(lambda: descriptors(pid) <= before + 2, f"{name} to close what junk had opened", 60)
    works(stack)


def test_half_requests_that_stay_are_dropped(stack: Stack) -> None:
    """At every socket at once: each takes its ten seconds to lose patience."""
    targets = [target(stack, which) for which in SOCKETS]
    pids = [stack.daemons[name].pid for name, _ in targets]
    before = [descriptors(pid) for pid in pids]
    with ExitStack() as connections:
        peers = [connections.enter_context(connected(stack, path)) for _, path in targets]
        for which, peer in zip(SOCKETS, peers, strict=True):
            peer.sendall(b"op=job\njob_" if which in ("agent", "hook") else b"GET / HT")
        works(stack)  # while it waits for the rest
        for peer in peers:
            peer.settimeout(60)
            while peer.recv(65536):
                pass  # an answer that says why, perhaps; then it hangs up
    assert [stack.daemons[name].pid for name, _ in targets] == pids
    for pid, count in zip(pids, before, strict=True):
        wait_until(lambda pid=pid, count=count: descriptors(pid) <= count + 2, "the daemons to have closed them", 60)


def descriptors(pid: int | None) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def works(stack: Stack) -> None:
    """The daemons still do what they are for."""
    for node in stack.nodes:
        assert ask(str(stack.layout.agent_socket(node.name)), {"op": "status"}, PATIENCE_S)["status"] == "ok"
    assert httpx.get(f"{stack.service_url}/healthz").status_code == 200
    job = stack.sbatch("#!/bin/sh\ntrue\n", "--tier=cap", "--mem=100M")
    assert "tierwise=" in stack.job(job)["Comment"]

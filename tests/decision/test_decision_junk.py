"""Junk, half requests and crowds on every socket: the service lives on, and leaves no descriptor open."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from decision_service import ALICE, Service, as_uid, eventually, node_sample

from tierwise_decision.bodies import MAX_BODY
from tierwise_decision.hook import MAX_STRANGERS
from tierwise_decision.listeners import MAX_PER_UID
from tierwise_decision.sockets import ListenError, UnixListener

PLANS = b"POST /v1/plans HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(munges: tuple[Path, Path]) -> Iterator[Service]:
    """One that listens everywhere."""
    running = Service(munge=munges[0]).start()
    yield running
    running.remove()


def connect(address: Path | int) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET)
    peer.settimeout(30)
    peer.connect(str(address) if isinstance(address, Path) else ("127.0.0.1", address))
    return peer


def answer(peer: socket.socket) -> bytes:
    """All that is answered, up to the end of the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := peer.recv(65536):
            received += chunk
    return received


def send(peer: socket.socket, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        peer.sendall(data)


def addresses(service: Service) -> list[Path | int]:
    return [service.hook, service.socket, service.port]


JUNK = [
    bytes(range(256)) * 64,
    b"\0" * 4096,
    b"op=submit\nop=submit\n\n",
    b"\n\n\n\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n",
    b"op=submit nonce=" + b"1" * (1 << 20),
    PLANS + b"Content-Length: 5\r\n\r\njunk!",
    PLANS + b"Content-Length: -5\r\n\r\n",
    PLANS + b"Content-Length: 99999999999999999999\r\n\r\n",
    PLANS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    PLANS + b"Content-Length: 9\r\n\r\n" + b"\xff" * 9,
    PLANS + b"Content-Length: 40002\r\n\r\n" + b"[" * 20001 + b"]" * 20001,
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk(service: Service, junk: bytes) -> None:
    for address in addresses(service):
        with connect(address) as peer:
            send(peer, junk)
            send(peer, b"\r\n\r\n")
            with contextlib.suppress(OSError):  # the service may have closed it already
                peer.shutdown(socket.SHUT_WR)
            answered = answer(peer)
            assert b" 200 " not in answered
            assert b"status=ok" not in answered
    alive(service)


@pytest.mark.parametrize("depth", [2000, 200_000])
def test_deep_json(service: Service, depth: int) -> None:
    with service.http() as http:
        nested = b'{"node":' + b"[" * depth + b"]" * depth + b"}"
        got = http.post("/v1/samples", content=nested, headers={"Content-Type": "application/json"})
    assert 400 <= got.status_code < 500
    alive(service)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(service: Service, chunked: bool) -> None:
    for address in addresses(service)[1:]:
        with connect(address) as peer:
            if chunked:
                send(peer, PLANS + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(MAX_BODY // (1 << 20) + 1):
                    send(peer, b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
            else:
                send(peer, PLANS + f"Content-Length: {MAX_BODY + 1}\r\n\r\n".encode())
            assert b" 413 " in answer(peer).split(b"\r\n", 1)[0]
    alive(service)


def test_half_requests_end_in_time(service: Service) -> None:
    """All at once, because that takes as long as the longest: 10 s over HTTP, 2 s at the hook."""
    alive(service)
    before = service.descriptors()
    halves = [
        (service.hook, b""),
        (service.hook, b"op=submit\nnonce="),
        *(
            (address, half)
            for address in (service.socket, service.port)
            for half in (
                b"",
                b"GET /heal",
                b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
                PLANS + b"Content-Length: 9\r\n\r\n{",
            )
        ),
    ]
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connect(address)) for address, _ in halves]
        for peer, (_, half) in zip(peers, halves, strict=True):
            send(peer, half)
        eventually(lambda: service.descriptors() > before)
        deaf = [stack.enter_context(connect(address)) for address in (service.socket, service.port)]
        for peer in deaf:  # they ask, and don't read
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    peer.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        # and one that sends a byte now and then is no better
        drip = stack.enter_context(connect(service.port))
        send(drip, b"GET /")
        while not select.select([drip], [], [], 0.5)[0]:
            send(drip, b"x")
        answers = [answer(peer) for peer in peers]
        eventually(lambda: all(is_cut_off(peer) for peer in deaf))
    assert [b" 408 " in got for got in answers].count(True) == 2
    eventually(lambda: service.descriptors() <= before)
    alive(service)


def is_cut_off(peer: socket.socket) -> bool:
    try:
        peer.send(b"x")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False


def test_peers_that_vanish(service: Service) -> None:
    before = service.descriptors()
    for _ in range(50):
        for address in addresses(service):
            with connect(address) as peer:
                send(peer, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" if address != service.hook else b"op=su")
    eventually(lambda: service.descriptors() <= before)
    alive(service)


def test_a_peer_that_does_not_read(service: Service) -> None:
    before = service.descriptors()
    with connect(service.hook) as peer:
        peer.setblocking(False)
        question = b"op=submit\nnonce=" + b"1" * 60 + b"\nuid=1\ntier=off\n\n"
        with contextlib.suppress(BlockingIOError):
            while True:
                peer.send(question * 100)
        assert eventually(lambda: service.descriptors() <= before)
    alive(service)


def test_one_user_cannot_shut_out_the_others(service: Service) -> None:
    before = service.descriptors()
    with contextlib.ExitStack() as stack:
        with as_uid(ALICE):
            for _ in range(MAX_PER_UID + 20):
                stack.enter_context(connect(service.socket))
            for _ in range(MAX_STRANGERS + 20):
                stack.enter_context(connect(service.hook))
        eventually(lambda: service.descriptors() <= before + MAX_PER_UID + MAX_STRANGERS)
        alive(service)
    eventually(lambda: service.descriptors() <= before)


def test_complaints_are_logged_once_a_minute(fresh_service: Service) -> None:
    with fresh_service.http() as http:
        for _ in range(200):
            assert http.post("/v1/samples", content=b"{}\x1b[31m").status_code == 400
    assert fresh_service.counted('tierwise_complaints_total{kind="http_junk"}') == 200
    assert fresh_service.log.count("http_junk") == 1
    assert "\x1b" not in fresh_service.log


def test_a_second_service_keeps_its_hands_off(service: Service) -> None:
    second = Service()
    try:
        second.hook = service.hook
        second.configure()
        command = [sys.executable, "-m", "tierwise_decision.main", "--config", str(second.directory / "tierwise.toml")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert f"could not listen on {service.hook}: another process serves it already" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        second.remove()
    alive(service)


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(ListenError, match="no socket"):
        UnixListener(str(tmp_path / "precious"))
    assert (tmp_path / "precious").read_text() == "data"
    with pytest.raises(ListenError, match="could not listen"):
        UnixListener(str(tmp_path / ("x" * 200)))


def test_a_socket_of_a_killed_service_is_replaced(make_service: Callable[..., Service]) -> None:
    service = make_service().start()
    service.kill()
    assert service.hook.exists()
    service.start()
    alive(service)
    assert sorted(path.name for path in service.hook.parent.iterdir()) == ["decision.sock", "hook.sock"]
    assert service.process
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(30) == 0


def alive(service: Service) -> None:
    client = service.client()
    client.sample(node_sample())
    assert client.health().ok
    assert service.submit("cap")["status"] == "ok"
    assert service.process
    assert service.process.poll() is None

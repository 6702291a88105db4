"""The hook asking a service that is late, silent, endless, junk or gone: bounded by one budget, then left alone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_hook_lua import LUAS, run

from tierwise.lines import decode, encode

Behaviour = Callable[[socket.socket, dict[str, str]], None]
BUDGET = 0.4


def truth(peer: socket.socket, question: dict[str, str]) -> None:
    peer.sendall(encode({"status": "ok", "nonce": question["nonce"], "token": "0123456789abcdef"}))


def conversation(peer: socket.socket, question: dict[str, str]) -> None:
    """The real service's way: the connection stays."""
    truth(peer, question)
    message = b""
    while chunk := peer.recv(4096):
        message += chunk
        if message.endswith(b"\n\n"):
            truth(peer, decode(message))
            message = b""


def in_pieces(peer: socket.socket, question: dict[str, str]) -> None:
    for byte in encode({"status": "ok", "nonce": question["nonce"], "token": "0123456789abcdef"}):
        peer.sendall(bytes([byte]))


def silence(peer: socket.socket, question: dict[str, str]) -> None:
    peer.recv(1)  # until the hook gives up


def drops(peer: socket.socket, question: dict[str, str]) -> None:
    """A byte every 50 ms: each single read would be in time."""
    while peer.send(b"a"):
        time.sleep(0.05)


def endless(peer: socket.socket, question: dict[str, str]) -> None:
    while peer.send(b"status=ok\n" * 1000):
        pass


def half(peer: socket.socket, question: dict[str, str]) -> None:
    peer.sendall(b"status=ok\nnonce=")


def junk(peer: socket.socket, question: dict[str, str]) -> None:
    peer.sendall(bytes(range(256)) + b"\n\n")


def another_nonce(peer: socket.socket, question: dict[str, str]) -> None:
    peer.sendall(encode({"status": "ok", "nonce": "0" * 32, "token": "0123456789abcdef"}))


@contextmanager
def listening(path: Path, behaviour: Behaviour) -> Iterator[list[dict[str, str]]]:
    """A peer with that behaviour towards each connection; the list fills with what it was asked."""
    asked: list[dict[str, str]] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                message = b""
                while not message.endswith(b"\n\n") and (chunk := peer.recv(4096)):
                    message += chunk
                asked.append(decode(message))
                try:
                    behaviour(peer, asked[-1])
                except OSError:
                    continue  # the hook has closed its end

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize("behaviour", [truth, in_pieces])
def test_an_answer(lua: str, behaviour: Behaviour, tmp_path: Path) -> None:
    with listening(tmp_path / "s", behaviour) as asked:
        assert run(lua, "service", tmp_path / "s", "2", "200") == "token=0123456789abcdef\n" * 200
    assert asked[0]["op"] == "submit"
    assert (asked[0]["uid"], asked[0]["job_name"]) == ("7", "a b")
    nonces = {question["nonce"] for question in asked}
    assert len(nonces) == 200
    assert {len(nonce) for nonce in nonces} == {32}


@pytest.mark.parametrize("lua", LUAS)
def test_a_connection_is_kept(lua: str, tmp_path: Path) -> None:
    with listening(tmp_path / "s", conversation) as connections:
        assert run(lua, "service", tmp_path / "s", "2", "200") == "token=0123456789abcdef\n" * 200
    assert len(connections) == 1


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [(silence, "timeout"), (drops, "timeout"), (endless, "its answer has no end"), (half, "closed")],
)
def test_a_miss(lua: str, behaviour: Behaviour, reason: str, tmp_path: Path) -> None:
    with listening(tmp_path / "s", behaviour) as asked:
        lines = run(lua, "service", tmp_path / "s", str(BUDGET), "10").splitlines()
    assert len(asked) == 3  # then it is left alone
    assert all(reason in line for line in lines[:3]), lines
    assert lines[3:] == ["the decision service is left alone after 3 misses"] * 7


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize(("behaviour", "reason"), [(junk, "not a message"), (another_nonce, "not for this")])
def test_what_is_not_believed_is_no_miss(lua: str, behaviour: Behaviour, reason: str, tmp_path: Path) -> None:
    with listening(tmp_path / "s", behaviour) as asked:
        lines = run(lua, "service", tmp_path / "s", "2", "5").splitlines()
    assert len(asked) == 5
    assert all(reason in line for line in lines), lines


@pytest.mark.parametrize("lua", LUAS)
def test_nobody_listens(lua: str, tmp_path: Path) -> None:
    lines = run(lua, "service", tmp_path / "s", "2", "5").splitlines()
    assert all(f"no answer from {tmp_path}/s" in line for line in lines[:3])
    assert "left alone" in lines[3]
    (tmp_path / "s").touch()
    assert "no answer" in run(lua, "service", tmp_path / "s", "2", "1")


@pytest.mark.parametrize("lua", LUAS)
def test_a_queue_that_is_full(lua: str, tmp_path: Path) -> None:
    """A service that hangs before accept: connecting is part of the budget."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        waiting = []
        for _ in range(2):
            peer = socket.socket(socket.AF_UNIX)
            peer.setblocking(False)
            waiting.append(peer)
            peer.connect_ex(str(tmp_path / "s"))
        assert "no answer" in run(lua, "service", tmp_path / "s", str(BUDGET), "1")
        for peer in waiting:
            peer.close()

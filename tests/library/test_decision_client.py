"""What the decision service's client does with answers that no service of ours gives."""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tierwise.client import MAX_ANSWER, DecisionClient
from tierwise.errors import UnavailableError


@contextmanager
def impostor(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Somebody who listens in the service's place, for one question."""

    def serve() -> None:
        peer, _ = listener.accept()
        with peer, suppress(OSError):  # it hangs up on us
            peer.recv(65536)
            answer(peer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def endless(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        peer.sendall(bytes(1 << 20))


def bomb(peer: socket.socket) -> None:
    body = zlib.compress(bytes(1 << 20))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {len(body)}\r\n\r\n"
    peer.sendall(head.encode() + body)


@pytest.mark.parametrize(("answer", "why"), [(endless, f"more than {MAX_ANSWER} bytes"), (bomb, "compressed")])
def test_an_answer_that_would_fill_the_memory(
    tmp_path: Path, answer: Callable[[socket.socket], None], why: str
) -> None:
    path = tmp_path / "decision.sock"
    with impostor(path, answer), DecisionClient(str(path)) as client, pytest.raises(UnavailableError, match=why):
        client.health()

"""A decision service that misbehaves: a peer on the hook's socket that answers whatever a test tells it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from tierwise.lines import decode, encode

Answer = Callable[[Mapping[str, str]], bytes | None]
"""From the fields of a question to the bytes sent back; None: nothing, while the connection stays open."""


class BrokenService:
    """Listens on `path` while the `with` block runs. `questions` is what it was asked, in order."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.questions: list[dict[str, str]] = []
        self._path = path
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._silent: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BrokenService:
        self._path.unlink(missing_ok=True)
        self._listener.bind(str(self._path))
        self._path.chmod(0o666)
        self._listener.listen(64)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for peer in self._silent:
            peer.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:  # shut down
                return
            answer = self._answer(self._question(peer))
            if answer is None:
                self._silent.append(peer)
                continue
            with peer:
                try:
                    peer.sendall(answer)
                except OSError:
                    continue  # the hook has given up on us, as it should

    def _question(self, peer: socket.socket) -> dict[str, str]:
        peer.settimeout(5)
        received = b""
        while not received.endswith(b"\n\n") and (chunk := peer.recv(65536)):
            received += chunk
        fields = decode(received)
        self.questions.append(fields)
        return fields


def silence(question: Mapping[str, str]) -> None:
    """No answer, for as long as the hook cares to wait."""


def says(**fields: str) -> Answer:
    """A well-formed answer to the right nonce with these fields."""
    return lambda question: encode({"status": "ok", "nonce": question.get("nonce", ""), **fields})


def sends(junk: bytes) -> Answer:
    """These bytes, whatever was asked."""
    return lambda question: junk

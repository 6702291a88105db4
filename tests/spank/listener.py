"""The agent's side of the line protocol, saying whatever a test wants: right, wrong, late, or nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tierwise.lines import decode, encode

Answer = Callable[[dict[str, str]], bytes | None]
"""From a request's fields to the bytes of the answer; None: say nothing and leave the connection open."""


@dataclass(frozen=True)
class Asked:
    """One request, who sent it by SO_PEERCRED, and which cgroups that process was in."""

    fields: dict[str, str]
    uid: int
    cgroups: str

    @property
    def op(self) -> str:
        return self.fields["op"]


def says(**fields: str | int) -> Answer:
    """The same answer to every request."""
    message = encode(fields)
    return lambda _: message


class Listener:
    """Listens on each of `paths`, one per node, answers with `answer`, and keeps what each was asked in `asked`."""

    def __init__(self, paths: Mapping[str, Path], answer: Answer) -> None:
        self.answer = answer
        self.asked: dict[str, list[Asked]] = {node: [] for node in paths}
        self._paths = paths.values()
        self._sockets: list[socket.socket] = []
        for node, path in paths.items():
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(path))
            path.chmod(0o666)
            listening.listen(64)
            self._sockets.append(listening)
            threading.Thread(target=self._serve, args=(node, listening), daemon=True).start()

    def close(self) -> None:
        for listening in self._sockets:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for path in self._paths:
            path.unlink()

    def _serve(self, node: str, listening: socket.socket) -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._talk, args=(node, peer), daemon=True).start()

    def _talk(self, node: str, peer: socket.socket) -> None:
        with peer:
            pid, uid, _ = struct.unpack("=iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            cgroups = Path(f"/proc/{pid}/cgroup").read_text()
            request = b""
            while not request.endswith(b"\n\n"):
                if not (chunk := peer.recv(65536)):
                    return
                request += chunk
            fields = decode(request)
            self.asked[node].append(Asked(fields, uid, cgroups))
            answer = self.answer(fields)
            with contextlib.suppress(BrokenPipeError):  # the plugin has read enough of it
                peer.sendall(answer or b"")
            if answer is None:
                peer.recv(1)  # until the plugin has waited long enough

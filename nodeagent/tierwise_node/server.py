"""The agent's unix socket: line messages from anybody on this host, bounded in size, time and number."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tierwise.errors import ProtocolError
from tierwise.lines import MAX_MESSAGE, decode, encode

log = logging.getLogger(__name__)
PATIENCE = 2.0
"""Seconds for a message to come in whole, and for an answer to be taken."""
MOST_CONNECTIONS, MOST_PER_USER = 1024, 512
"""Root is not counted: a user who fills the socket must not keep the prolog out."""
BACKLOG = 512
_UCRED = struct.Struct("3i")


@dataclass(frozen=True)
class Peer:
    """Who asks: the process that connected, and its effective uid (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int


Answer = Callable[[Peer, dict[str, str]], Awaitable[dict[str, str | int]]]


class Server:
    """Listens on `path` (mode 0666) and gives every message to `answer`."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path, self._answer = path, answer
        self._peers: Counter[int] = Counter()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket file that a killed agent left is replaced."""
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True)
            self.path.parent.chmod(0o755)  # every user reaches the socket; our umask would say no
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=MAX_MESSAGE, backlog=BACKLOG)
        os.chmod(self.path, 0o666)  # noqa: S103  everybody may ask; peers' uids are checked

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        self._peers[peer.uid] += 1
        try:
            if peer.uid and (self._peers[peer.uid] > MOST_PER_USER or self._peers.total() > MOST_CONNECTIONS):
                return
            while message := await _message(reader):
                await self._reply(peer, message, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # a peer that is slow or has gone: nothing is owed to it
        except asyncio.LimitOverrunError:
            with contextlib.suppress(TimeoutError, OSError):
                await _send(writer, {"status": "error", "reason": f"a message of more than {MAX_MESSAGE} bytes"})
        finally:
            self._peers[peer.uid] -= 1
            self._peers += Counter()  # drops the zeros
            writer.close()

    async def _reply(self, peer: Peer, message: bytes, writer: asyncio.StreamWriter) -> None:
        answer: dict[str, str | int]
        try:
            answer = await self._answer(peer, decode(message))
        except ProtocolError as error:
            answer = {"status": "error", "reason": str(error)}
        except Exception:
            log.exception("a question of pid %d (uid %d) could not be answered", peer.pid, peer.uid)
            answer = {"status": "error", "reason": "the agent failed at this question: its log says why"}
        await _send(writer, answer)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """The next message; empty when the peer has closed. Raises TimeoutError after PATIENCE."""
    try:
        return await asyncio.wait_for(reader.readuntil(b"\n\n"), PATIENCE)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


async def _send(writer: asyncio.StreamWriter, answer: dict[str, str | int]) -> None:
    writer.write(encode(answer))
    await asyncio.wait_for(writer.drain(), PATIENCE)


def _peer(writer: asyncio.StreamWriter) -> Peer:
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return Peer(pid, uid)

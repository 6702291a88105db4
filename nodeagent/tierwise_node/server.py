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
RATE, BURST = 200.0, 2048
"""Questions a second of one user, and so many at once before that counts: a node full of tasks starts. Who asks more
often waits, so that nobody's loop takes the agent from others, or a CPU from the node."""
MOST_USERS = 4096
BACKLOG = 512
_UCRED = struct.Struct("3i")


@dataclass(frozen=True)
class Peer:
    """Who asks: the process that connected, and its effective uid (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int


Reply = dict[str, str | int]


class Paces:
    """How fast each user asks. Root is not counted."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        """By uid: when its next question would be due at RATE. It may come BURST questions earlier."""

    def wait(self, uid: int, now: float) -> float:
        """Seconds that a question of `uid`, asked `now` (of a clock that only runs on), has to wait."""
        if uid == 0:
            return 0.0
        earliest = now - BURST / RATE
        due = max(self._due.get(uid, earliest), earliest) + 1 / RATE
        self._due[uid] = due
        if len(self._due) > MOST_USERS:
            self._due = {each: at for each, at in self._due.items() if at > earliest}
        return max(due - now, 0.0)


class Connection:
    """One peer's messages, in and out. Raises TimeoutError, OSError and asyncio's errors of streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._received = b""
        writer.transport.set_write_buffer_limits(0)  # an answer is sent when all of it is

    async def next_message(self, idle: bool = False) -> bytes:
        """The next message; empty when the peer has closed. It has PATIENCE, with `idle` once it has begun."""
        deadline = None
        while (end := self._received.find(b"\n\n")) < 0:
            if len(self._received) > MAX_MESSAGE:
                raise asyncio.LimitOverrunError("too long a message", len(self._received))
            if deadline is None and (self._received or not idle):
                deadline = asyncio.get_running_loop().time() + PATIENCE
            async with asyncio.timeout_at(deadline):
                more = await self._reader.read(MAX_MESSAGE)
            if not more and self._received:
                raise asyncio.IncompleteReadError(self._received, None)
            if not more:
                return b""
            self._received += more
        message, self._received = self._received[: end + 2], self._received[end + 2 :]
        return message

    async def send(self, reply: Reply) -> None:
        """Send an answer."""
        self._writer.write(encode(reply))
        await asyncio.wait_for(self._writer.drain(), PATIENCE)

    def send_descriptor(self, reply: Reply, descriptor: int) -> None:
        """Send an answer with a descriptor (unix(7), SCM_RIGHTS). BlockingIOError where the peer doesn't read."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as peer:
            message = encode(reply)
            if socket.send_fds(peer, [message], [descriptor]) < len(message):
                raise BlockingIOError("the peer does not read its answers")


@dataclass(frozen=True)
class Handover:
    """In place of an answer: from now on the connection is served by `serve`, until it returns."""

    serve: Callable[[Connection], Awaitable[None]]


Answer = Callable[[Peer, dict[str, str]], Awaitable[Reply | Handover]]


class Server:
    """Listens on `path` (mode 0666) and gives every message to `answer`."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path, self._answer = path, answer
        self._peers: Counter[int] = Counter()
        self._paces = Paces()
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
        connection = Connection(reader, writer)
        try:
            if handover := await self._answer_all(_peer(writer), connection):
                await handover.serve(connection)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # a peer that is slow or has gone: nothing is owed to it
        except asyncio.LimitOverrunError:
            with contextlib.suppress(TimeoutError, OSError):
                await connection.send({"status": "error", "reason": f"a message of more than {MAX_MESSAGE} bytes"})
        finally:
            if writer.transport.get_write_buffer_size():  # closing would wait for a peer that does not read
                writer.transport.abort()
            writer.close()

    async def _answer_all(self, peer: Peer, connection: Connection) -> Handover | None:
        """Answer until the peer has closed, or somebody else is to serve it: who does, counts it, too."""
        self._peers[peer.uid] += 1
        try:
            if peer.uid and (self._peers[peer.uid] > MOST_PER_USER or self._peers.total() > MOST_CONNECTIONS):
                return None
            while message := await connection.next_message():
                if wait := self._paces.wait(peer.uid, asyncio.get_running_loop().time()):
                    await asyncio.sleep(wait)
                answer = await self._reply(peer, message)
                if isinstance(answer, Handover):
                    return answer
                await connection.send(answer)
            return None
        finally:
            self._peers[peer.uid] -= 1
            self._peers += Counter()  # drops the zeros

    async def _reply(self, peer: Peer, message: bytes) -> Reply | Handover:
        try:
            return await self._answer(peer, decode(message))
        except ProtocolError as error:
            return {"status": "error", "reason": str(error)}
        except Exception:
            log.exception("a question of pid %d (uid %d) could not be answered", peer.pid, peer.uid)
            return {"status": "error", "reason": "the agent failed at this question: its log says why"}


def _peer(writer: asyncio.StreamWriter) -> Peer:
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return Peer(pid, uid)

"""HTTP on our sockets: uvicorn, with connections bounded in number and in patience, and unix peers known by uid."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tierwise_decision.bodies import App
from tierwise_decision.complaints import Complaints
from tierwise_decision.credentials import UID
from tierwise_decision.peers import peer_uid

PATIENCE = 10.0
"""Seconds for a request's head to become whole, and for a peer to take an answer, or as much of one as is under way."""
MAX_PER_UID = 64
"""Connections of one uid to the unix socket, that one user can't shut out the others."""
_KEEP_ALIVE = 6
"""Seconds between requests; our client drops a connection after 5 (httpx), and must not meet one that we drop."""


class Listener(uvicorn.Server):
    """One socket served over HTTP, as a task of a process that has several. Signals are not its business."""

    def __init__(self, app: App, sock: socket.socket, max_connections: int, complain: Complaints) -> None:
        self.socket = sock
        self.max_connections = max_connections
        self.complain = complain
        self.by_uid: Counter[int] = Counter()
        config = uvicorn.Config(
            app,
            http=self._protocol,  # type: ignore[arg-type]  # a factory is called as a class is
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave them to the service."""
        yield

    async def run_until_stopped(self) -> None:
        """Serve until `stop`."""
        await self.serve(sockets=[self.socket])

    def stop(self) -> None:
        """Take no more requests; those under way get their answer."""
        self.should_exit = True

    def _protocol(self, **options: Any) -> "_Connection":
        return _Connection(self, **options)


class _Connection(H11Protocol):
    """One connection."""

    def __init__(self, listener: Listener, **options: Any) -> None:
        super().__init__(**options)
        self._listener = listener
        self._uid: int | None = None
        self._head = _Patience(self, "a peer did not finish the head of its request")
        self._reading = _Patience(self, "a peer did not read its answer")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, if there is room."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        listener = self._listener
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            self._uid = peer_uid(sock)
            listener.by_uid[self._uid] += 1
            self.app_state = {**self.app_state, UID: self._uid}
        crowd = listener.by_uid[self._uid] if self._uid is not None else 0
        if len(self.connections) > listener.max_connections or crowd > MAX_PER_UID:
            listener.complain("http_busy", f"too many connections (the last by uid {self._uid})")
            transport.abort()
            return
        self._head.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        self._head.end()
        self._reading.end()
        if self._uid is not None:
            self._listener.by_uid[self._uid] -= 1
            if not self._listener.by_uid[self._uid]:
                del self._listener.by_uid[self._uid]

    def data_received(self, data: bytes) -> None:
        """Some of a request. uvicorn has no time limit for a head: this is it (for bodies: bodies.py)."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head.end()
        elif not self.transport.is_closing():
            self._head.begin()

    def pause_writing(self) -> None:
        """It doesn't read. A transport that is closed waits for its peer to, for ever: this is the limit."""
        super().pause_writing()
        self._reading.begin()

    def resume_writing(self) -> None:
        """It has read all of it."""
        super().resume_writing()
        self._reading.end()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is counted too."""
        self._listener.complain("http_junk", msg)
        super().send_400_response(msg)

    def cut_off(self, why: str) -> None:
        """End it now, and count why."""
        self._listener.complain("http_junk", why)
        self.transport.abort()


class _Patience:
    """PATIENCE for what a peer has to do, from `begin` to `end`; then its connection is cut off."""

    def __init__(self, connection: _Connection, why: str) -> None:
        self._connection, self._why = connection, why
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on, unless it runs already."""
        if self._timer is None:
            self._timer = self._connection.loop.call_later(PATIENCE, self._expire)

    def end(self) -> None:
        """It has done it."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._connection.cut_off(self._why)

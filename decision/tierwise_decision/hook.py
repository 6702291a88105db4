"""The hook's line socket: the service's hottest path, because slurmctld holds its locks meanwhile. It has a process of
its own (hook_process.py)."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from tierwise.errors import ProtocolError, TierwiseError
from tierwise.lines import MAX_MESSAGE, decode, encode
from tierwise_decision.complaints import Complaints
from tierwise_decision.link import Answer, Timed
from tierwise_decision.peers import peer_uid
from tierwise_decision.settings import Settings
from tierwise_decision.sockets import UnixListener
from tierwise_decision.submit import Submit, parse_submission

Asked = Callable[[Mapping[str, str]], Awaitable[Answer]]
PATIENCE = 2.0
"""Seconds for a message to become whole, and for a peer to take its answer."""
IDLE = 60.0
"""Seconds that the hook may keep a connection between two submissions."""
MAX_CONNECTIONS = 256
MAX_STRANGERS = 16
"""Connections of uids that may not ask: they are told so, but can't shut out the hook."""


class Hook:
    """Serves the hook socket: one question, one answer, and again while the peer likes."""

    def __init__(
        self,
        settings: Settings,
        submit: Submit,
        questions: Mapping[str, Asked],
        timed: Callable[[Timed], None],
        complain: Complaints,
    ) -> None:
        """`questions`: who answers what slurmctld's scripts tell, by `op`. `timed` hears of answered submissions."""
        self._questions, self._timed = questions, timed
        self._settings = settings
        self._submit = submit
        self._complain = complain
        self._connections = Counter[bool]()
        self._server: asyncio.Server | None = None

    async def start(self, listener: UnixListener) -> None:
        """Answer on `listener` from now on."""
        self._server = await asyncio.start_unix_server(self._serve, sock=listener.socket, limit=MAX_MESSAGE)

    def stop(self) -> None:
        """Take no more connections."""
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        known = self._settings.access.is_hook(uid)
        self._connections[known] += 1
        try:
            if self._connections[known] > (MAX_CONNECTIONS if known else MAX_STRANGERS):
                self._complain("hook_busy", f"too many connections to the hook socket (the last by uid {uid})")
                return
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._converse(reader, writer, None if known else uid)
        finally:
            self._connections[known] -= 1
            if writer.transport.get_write_buffer_size():  # the peer does not read: nothing to wait for
                writer.transport.abort()
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stranger: int | None) -> None:
        answered = False
        while True:
            try:
                async with asyncio.timeout(IDLE if answered else PATIENCE):
                    first = await reader.read(1)
                if not first:
                    return
                async with asyncio.timeout(PATIENCE):
                    message = first + await reader.readuntil(b"\n\n")
            except asyncio.IncompleteReadError:
                self._complain("hook_junk", "a peer of the hook socket left in the middle of a message")
                return
            except asyncio.LimitOverrunError:
                self._complain("hook_junk", f"a message of more than {MAX_MESSAGE} bytes on the hook socket")
                writer.write(encode(_error(f"a message has at most {MAX_MESSAGE} bytes")))
                return
            if stranger is not None:
                self._complain("uid", f"uid {stranger} may not ask on the hook socket (service.hook_uids)")
                writer.write(encode(_error(f"uid {stranger} may not ask here: see service.hook_uids")))
                return
            writer.write(encode(await self._answer(message)))
            async with asyncio.timeout(PATIENCE):
                await writer.drain()

    async def _answer(self, message: bytes) -> Answer:
        started = time.perf_counter()
        if (question := self._question(message)) is not None:
            return await _ask(*question)
        answer = self._checked(message)
        self._timed(Timed(str(answer["status"]), time.perf_counter() - started))
        return answer

    def _question(self, message: bytes) -> tuple[Asked, dict[str, str]] | None:
        """Who answers a message that is no submission, and its fields."""
        if message.startswith(b"op=submit\n"):
            return None
        with contextlib.suppress(ProtocolError):
            fields = decode(message)
            if asked := self._questions.get(fields.get("op", "")):
                return asked, fields
        return None

    def _checked(self, message: bytes) -> Answer:
        nonce = ""
        try:
            fields = decode(message)
            nonce = fields.get("nonce", "")[:64]
            return self._submit.answer(parse_submission(fields))
        except ProtocolError as error:
            self._complain("hook_junk", str(error))
            return _error(str(error), nonce)
        except Exception as error:
            # Whatever we do wrong, slurmctld gets an answer at once and lets the job in unchanged.
            self._complain("internal", f"could not answer a submission: {error!r}", trace=error)
            return _error("internal error: see the service's log", nonce)


async def _ask(asked: Asked, fields: dict[str, str]) -> Answer:
    nonce = fields.get("nonce", "")[:64]
    try:
        return {"nonce": nonce, **await asked(fields)}
    except TierwiseError as error:
        return _error(str(error), nonce)


def _error(reason: str, nonce: str = "") -> Answer:
    return {"status": "error", "nonce": nonce, "reason": reason}

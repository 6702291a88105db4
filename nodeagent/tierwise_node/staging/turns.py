"""Waiting for this node's turn to read a source that many nodes want: the decision service counts them."""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from tierwise.errors import TierwiseError
from tierwise.messages import ReadTurn
from tierwise_node.staging.source import Source

log = logging.getLogger(__name__)
ASK_AGAIN, RENEW = 1.0, 10.0
"""Seconds between two questions while we wait, and while we read."""
LONGEST = 300.0
"""Seconds after which we read all the same."""
Ask = Callable[[ReadTurn], Awaitable[bool]]


class Turns:
    """`ask` puts a question to the decision service, raising TierwiseError: then nobody is waited for."""

    def __init__(self, node: str, ask: Ask) -> None:
        self._node, self._ask = node, ask

    @contextlib.asynccontextmanager
    async def reading(self, source: Source) -> AsyncIterator[None]:
        """Inside, this node reads `source`."""
        name = os.fsencode(f"{source.path}\0{source.size}\0{source.mtime_ns}")
        turn = ReadTurn(self._node, hashlib.sha256(name).hexdigest())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wait(turn), LONGEST)
        renewing = asyncio.create_task(self._renew(turn))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._granted(ReadTurn(turn.node, turn.source, done=True))

    async def _wait(self, turn: ReadTurn) -> None:
        while not await self._granted(turn):
            await asyncio.sleep(ASK_AGAIN)

    async def _renew(self, turn: ReadTurn) -> None:
        while True:
            await asyncio.sleep(RENEW)
            await self._granted(turn)

    async def _granted(self, turn: ReadTurn) -> bool:
        try:
            return await self._ask(turn)
        except TierwiseError as error:
            log.debug("no turns are counted: %s", error)
            return True

"""Marks of jobs that have left this node. The epilog leaves one before it sends its message, which can be lost: to an
agent that is being restarted, or on a node so busy that the message comes too late.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
LOOK = 5.0
"""Seconds between two looks at the marks."""


class Endings:
    """The marks in `folder`, empty files that are named by their jobs. `end` ends a job here, as its epilog would."""

    def __init__(self, folder: Path, end: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        self._folder, self._end = folder, end
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            log.error("%s: %s: an epilog's message that is lost will not be noticed", folder, error.strerror)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """End the jobs of which only a mark tells."""
        for job_id in self._marked():
            try:
                await self.end_marked(job_id)
            except Exception:
                log.exception("job %d could not be ended", job_id)

    async def end(self, job_id: int) -> None:
        """The job has left the node; ending it twice does no harm. Its mark goes last: a killed agent finds it."""
        # A task, as the prolog's work is one: the two begin in the order in which they came.
        await asyncio.create_task(self._end(job_id))
        (self._folder / str(job_id)).unlink(missing_ok=True)

    async def end_marked(self, job_id: int) -> None:
        """End a job of which there is a mark: nobody told of its end, or the message is on its way."""
        if (self._folder / str(job_id)).exists():
            await self.end(job_id)

    def _marked(self) -> list[int]:
        try:
            return [int(mark.name) for mark in self._folder.iterdir() if mark.name.isdigit()]
        except OSError:
            return []

"""What jobs asked for with --tier-stage and --tier-scratch: begun by the prolog or the first task, whichever comes
first, and ended with the job. Nothing here fails a job: what can't be had is a notice, and the source is read instead.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tierwise.tiers import TierName
from tierwise_node.scratch import Scratch
from tierwise_node.staging.links import Links
from tierwise_node.staging.source import StageError
from tierwise_node.staging.stage import SWEEP, Stage

log = logging.getLogger(__name__)
MOST_NOTICES, MOST_SOURCES = 16, 64


@dataclass(eq=False)
class Wish:
    """One job's files here. `notices` say what it does not get, and why."""

    uid: int
    began: float
    scratch: Path | None = None
    links: Links | None = None
    staged: dict[str, Path] = field(default_factory=dict)
    """Source to copy, for those that are whole."""
    notices: list[str] = field(default_factory=list)
    work: list["asyncio.Task[None]"] = field(default_factory=list)


class Wishes:
    """Those of all jobs on this node. `tiers` says where a job's copies should lie, best first."""

    def __init__(self, stage: Stage, scratch: Scratch, tiers: Callable[[int], tuple[TierName, ...]]) -> None:
        self._stage, self._scratch, self._tiers = stage, scratch, tiers
        self._jobs: dict[int, Wish] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    async def begin(self, job_id: int, uid: int, paths: tuple[str, ...], scratch: int) -> Wish:
        """Make the job's scratch and begin to stage its sources. Does again only what was not asked before."""
        async with self._locks.setdefault(job_id, asyncio.Lock()):
            wish = self._jobs.get(job_id)
            if wish is None or wish.uid != uid:
                wish = self._jobs[job_id] = Wish(uid, time.monotonic())
            if scratch and wish.scratch is None:
                await self._make_scratch(job_id, wish, scratch)
            new = [path for path in paths if wish.links is None or not wish.links.has(path)]
            if len(wish.work) + len(new) > MOST_SOURCES:
                self._notice(job_id, wish, f"a job can't stage more than {MOST_SOURCES} sources")
            elif new:
                await self._begin_staging(job_id, wish, new)
            return wish

    async def _make_scratch(self, job_id: int, wish: Wish, size: int) -> None:
        try:
            wish.scratch = await asyncio.to_thread(self._scratch.make, job_id, wish.uid, size)
        except StageError as error:
            self._notice(job_id, wish, str(error))

    async def _begin_staging(self, job_id: int, wish: Wish, paths: list[str]) -> None:
        try:
            await self._stage.prepare()
            if wish.links is None:
                wish.links = self._stage.links(job_id, wish.uid)
        except (StageError, OSError) as error:
            self._notice(job_id, wish, f"nothing is staged: {error}")
            return
        for path in paths:
            try:
                wish.links.add(path)
            except (StageError, OSError) as error:
                self._notice(job_id, wish, f"{path} is not staged: {error}")
            else:
                wish.work.append(asyncio.create_task(self._stage_one(job_id, wish, path)))

    async def _stage_one(self, job_id: int, wish: Wish, path: str) -> None:
        try:
            found = await self._stage.ask(wish.uid, path, self._tiers(job_id), f"job:{job_id}")
            copy = await self._stage.wait(found, wish.uid, None)
            assert copy is not None
            assert wish.links is not None
            wish.staged[path] = self._stage.path(copy)
            wish.links.lead(path, wish.staged[path])
        except (StageError, OSError) as error:
            self._notice(job_id, wish, str(error))

    def _notice(self, job_id: int, wish: Wish, text: str) -> None:
        log.warning("job %d: %s", job_id, text)
        wish.notices = [*wish.notices, text][-MOST_NOTICES:]

    async def wait(self, wish: Wish, seconds: float) -> bool:
        """Whether all is staged (or known not to be), at the latest `seconds` after the job's wish was heard."""
        left = wish.began + seconds - time.monotonic()
        if wish.work and left > 0:
            await asyncio.wait(wish.work, timeout=left)
        return all(task.done() for task in wish.work)

    def of(self, job_id: int) -> Wish | None:
        """What a job asked for."""
        return self._jobs.get(job_id)

    async def end(self, job_id: int) -> None:
        """The job has ended: its scratch is gone, its links too; copies stay for their lease."""
        async with self._locks.setdefault(job_id, asyncio.Lock()):
            wish = self._jobs.pop(job_id, None)
            if wish is not None:
                for task in wish.work:
                    task.cancel()
            self._stage.remove_links(lambda ended: ended == job_id)
            self._stage.release(f"job:{job_id}")
            try:
                await asyncio.to_thread(self._scratch.remove, job_id)
            except StageError as error:
                log.error("job %d: %s", job_id, error)
        self._locks.pop(job_id, None)

    async def run(self, job_lives: Callable[[int], bool]) -> None:
        """End the wishes of jobs that went away while nobody told us, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            try:
                for job_id in [job_id for job_id in self._jobs if not job_lives(job_id)]:
                    await self.end(job_id)
                self._stage.remove_links(lambda job_id: not job_lives(job_id))
                await asyncio.to_thread(self._scratch.keep_only, job_lives)
            except Exception:
                log.exception("a sweep of what jobs asked for failed")

"""The hotness of the jobs here, as the agent's other parts see it: a task, and what it has found."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from tierwise.messages import Heatmap
from tierwise_node.hotness.kdamonds import Kdamonds
from tierwise_node.jobs import Jobs

if TYPE_CHECKING:  # numpy takes 25 MB: an agent without jobs goes without
    from tierwise_node.hotness.tracking import Tracking
    from tierwise_policy.heat import Window

log = logging.getLogger(__name__)
SMALLEST = 4 << 20
"""Bytes below which a job is not worth it."""
AT_REST = 2.0
"""Seconds after which an agent without such jobs looks again."""


class Hotness:
    """Runs as a task of the agent. `state` is the agent's folder: the journal of kdamonds is there."""

    def __init__(self, jobs: Jobs, node: str, state: Path) -> None:
        self._jobs, self._node, self._journal = jobs, node, state / "kdamonds.json"
        self._tracking: Tracking | None = None
        self._followed: Collection[int] = ()
        self._wake = asyncio.Event()
        if self._journal.exists():
            try:
                self._clean_up()
            except (OSError, ValueError) as error:  # a full disk, say: no reason for the agent not to start
                log.error("what an agent before left of DAMON stays: %s", error)

    async def run(self) -> None:
        """Take turns until cancelled. No failure of one turn ends it: it is logged, and the next one comes."""
        while True:
            begun = time.monotonic()
            self._wake.clear()
            try:
                await self._turn()
            except Exception:
                log.exception("a look at the jobs' hotness failed")
            turn = self._tracking.seconds if self._tracking else AT_REST
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(turn - (time.monotonic() - begun), 0.1))

    def notice(self) -> None:
        """The jobs were sampled: those that have become large enough are not to wait for their first turn."""
        if any(job not in self._followed and self._worth(job) for job in self._jobs.groups):
            self._wake.set()

    def windows(self) -> dict[int, Window]:
        """The newest window of each job that has one."""
        return self._tracking.windows() if self._tracking else {}

    def keep_only(self, jobs: Collection[int]) -> None:
        """Forget the jobs that have ended."""
        if self._tracking:
            self._tracking.keep_only(jobs)

    def heatmap(self, job: int, rows: int, columns: int) -> Heatmap | None:
        """The picture of a job's history; None when nothing was seen of it yet."""
        return self._tracking.heatmap(job, rows, columns) if self._tracking else None

    @property
    def tracker(self) -> str:
        """The tracker in use; empty: none, or no job is large enough."""
        return self._tracking.tracker if self._tracking else ""

    def damon_problem(self) -> str:
        """Why DAMON can't be used now; empty: it is, or could be."""
        return Kdamonds(self._journal, 0).problem()

    def stop(self) -> None:
        """Leave nothing behind in the kernel. May wait for a turn to end."""
        if self._tracking:
            self._tracking.stop()

    async def _turn(self) -> None:
        groups = {job: group for job, group in self._jobs.groups.items() if self._worth(job)}
        if groups and self._tracking is None:
            self._tracking = self._begin()
        self._followed = groups.keys()
        if self._tracking:
            uids = {job: self._jobs.records[job].uid for job in groups}
            await asyncio.to_thread(self._tracking.turn, groups, uids)
            self._tracking.tell(self._jobs.records)
            self._tracking.keep_only(self._jobs.records)
            if self._tracking.news:
                self._jobs.wake()

    def _begin(self) -> Tracking:
        from tierwise_node.hotness.damon import Damon  # noqa: PLC0415
        from tierwise_node.hotness.soft_dirty import SoftDirty  # noqa: PLC0415
        from tierwise_node.hotness.tracking import Tracking  # noqa: PLC0415

        return Tracking((lambda: Damon(self._journal, self._node), SoftDirty))

    def _worth(self, job: int) -> bool:
        usage = self._jobs.usages.get(job)
        return (
            job in self._jobs.records
            and usage is not None
            and not usage.suspended
            and sum(usage.nodes.values()) >= SMALLEST
        )

    def _clean_up(self) -> None:
        """A killed agent left kdamonds: end those that are as it left them."""
        left = Kdamonds(self._journal, 0)
        problem = left.problem()
        if problem:
            log.warning("what an agent before left of DAMON stays: %s", problem)
            return
        left.take()
        left.give_back()
        log.info("ended the kdamonds that an agent before left running")

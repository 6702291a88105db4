"""Staging and scratch, put together for one life of the agent."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from tierwise.config import StageConfig
from tierwise.telemetry import StageAhead
from tierwise.tiers import TierName
from tierwise_node.cgroups import Cgroups
from tierwise_node.jobs import NO_EPILOG, Jobs
from tierwise_node.rights import Rights
from tierwise_node.scratch import Scratch
from tierwise_node.service import Service
from tierwise_node.staging.answers import StageAnswers
from tierwise_node.staging.presence import Presence
from tierwise_node.staging.source import StageError
from tierwise_node.staging.stage import Stage
from tierwise_node.staging.turns import Turns
from tierwise_node.staging.wishes import Wishes
from tierwise_policy.staging import preferred

log = logging.getLogger(__name__)


class Staging:
    """`folder` is where the mounts go, `order` the node's tiers, fastest first. `answers` serve the socket; `run` lets
    go of what has no holder any more."""

    def __init__(
        self,
        node: str,
        folder: Path,
        config: StageConfig,
        jobs: Jobs,
        cgroups: Cgroups,
        service: Service,
        order: tuple[TierName, ...],
    ) -> None:
        self._early: set[asyncio.Task[None]] = set()
        self._presence = Presence(lambda job_id: job_id in jobs.records, NO_EPILOG)
        self._stage = Stage(folder, config, jobs.tiers, self._presence.lives, Turns(node, service.read_turn))

        def tiers(job_id: int) -> tuple[TierName, ...]:
            record = jobs.records.get(job_id)
            return preferred(order, record.plan if record else None)

        self._tiers = tiers
        self._wishes = Wishes(self._stage, Scratch(folder / "scratch", jobs.tiers), tiers)
        rights = Rights(jobs, cgroups)
        self.answers = StageAnswers(
            node, self._stage, self._wishes, cgroups.job_of, tiers, rights.task_refusal, self._presence.ended
        )
        self._stage.adopt()

    def ahead(self, sources: Iterable[StageAhead]) -> None:
        """Stage what pending jobs will read, held by nobody: their prologs find it, or its lease ends."""
        for source in sources:
            task = asyncio.create_task(self._stage_ahead(source))
            self._early.add(task)
            task.add_done_callback(self._early.discard)

    async def _stage_ahead(self, source: StageAhead) -> None:
        try:
            await self._stage.ask(source.uid, source.path, self._tiers(0))
        except (StageError, OSError) as error:
            log.warning("for a pending job of uid %d: %s", source.uid, error)

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._stage.run(), self._wishes.run(self._presence.lives))

    async def close(self, stopping: bool) -> None:
        """`stopping`: for good, not for a reload."""
        for task in self._early:
            task.cancel()
        await self._stage.close(stopping)

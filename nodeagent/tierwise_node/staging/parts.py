"""Staging and scratch, put together for one life of the agent."""

import asyncio
from pathlib import Path

from tierwise.config import StageConfig
from tierwise.tiers import TierName
from tierwise_node.cgroups import Cgroups
from tierwise_node.jobs import NO_EPILOG, Jobs
from tierwise_node.rights import Rights
from tierwise_node.scratch import Scratch
from tierwise_node.service import Service
from tierwise_node.staging.answers import StageAnswers
from tierwise_node.staging.presence import Presence
from tierwise_node.staging.stage import Stage
from tierwise_node.staging.turns import Turns
from tierwise_node.staging.wishes import Wishes
from tierwise_policy.staging import preferred


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
        self._presence = Presence(lambda job_id: job_id in jobs.records, NO_EPILOG)
        self._stage = Stage(folder, config, jobs.tiers, self._presence.lives, Turns(node, service.read_turn))

        def tiers(job_id: int) -> tuple[TierName, ...]:
            record = jobs.records.get(job_id)
            return preferred(order, record.plan if record else None)

        self._wishes = Wishes(self._stage, Scratch(folder / "scratch", jobs.tiers), tiers)
        rights = Rights(jobs, cgroups)
        self.answers = StageAnswers(
            node, self._stage, self._wishes, cgroups.job_of, tiers, rights.task_refusal, self._presence.ended
        )
        self._stage.adopt()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._stage.run(), self._wishes.run(self._presence.lives))

    async def close(self, stopping: bool) -> None:
        """`stopping`: for good, not for a reload."""
        await self._stage.close(stopping)

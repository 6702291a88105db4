"""What the service knows and decides about nodes: loads, stragglers, selection, and what Slurm is told of it."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from tierwise.errors import UnavailableError
from tierwise.hostlist import expand
from tierwise.slurmnodes import SlurmNodes
from tierwise.telemetry import RESOURCES, NodeEvent, Utilisation
from tierwise_decision.cluster import Cluster
from tierwise_decision.complaints import Complaints
from tierwise_decision.database import telemetry as tables
from tierwise_decision.database.store import Store
from tierwise_decision.exclusions import Exclusions
from tierwise_decision.known import Known
from tierwise_decision.requests import Requests
from tierwise_decision.retention import Retention
from tierwise_decision.runs import EndedJob
from tierwise_decision.selection import Selection
from tierwise_decision.settings import Settings
from tierwise_decision.shared import Shared
from tierwise_decision.slurm_view import SlurmView
from tierwise_decision.stragglers import Stragglers
from tierwise_decision.telemetry import READ_EVERY, Loads
from tierwise_decision.weights import Weights
from tierwise_policy.thresholds import Exposure

MIN_SECONDS = 5.0
"""Shorter runs say more about their start than about their node."""


class Nodes:
    """All of it, put together once. `slurm` is None where no client is installed."""

    def __init__(
        self,
        settings: Settings,
        known: Known,
        cluster: Cluster,
        store: Store,
        complain: Complaints,
        requests: Requests,
        slurm: SlurmNodes | None,
    ) -> None:
        self._store, self._complain = store, complain
        self.loads = Loads(known, store, complain, lambda: settings.config.service.measurement_days * 86400.0)
        self.stragglers = Stragglers(known, store, self.loads)
        self.selection = Selection(self.loads, self.stragglers, store, requests)
        view = SlurmView(slurm, known, complain)
        self.exclusions = Exclusions(settings, view, known, store, requests)
        self._weights = Weights(settings, view, self.selection, store)
        self._retention = Retention(settings, store)
        self._shared = Shared(cluster, self.loads, store, lambda: settings.config.agent.report_interval)
        self.loads.knows = view.knows
        self.stragglers.changed = self._wake
        self.loads.heard = self.stragglers.judge

    async def run(self) -> None:
        """As long as the service runs."""
        await self._store.opened.wait()
        async with asyncio.TaskGroup() as group:
            for part in (self.loads, self.stragglers, self.exclusions, self._weights, self._shared, self._retention):
                group.create_task(self._keep_running(part.run))

    async def stop(self) -> None:
        """Give back to the site what is the site's."""
        with contextlib.suppress(UnavailableError):  # said already; the next start goes on from the database
            await self._weights.restore()

    async def _keep_running(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A fault in one of them must end neither the others nor the service."""
        while True:
            try:
                await run()
            except Exception as error:
                self._complain("internal", f"what watches over nodes failed: {error!r}", trace=error)
            await asyncio.sleep(READ_EVERY)

    def _wake(self) -> None:
        """A mark has come or gone: Slurm is told at once."""
        self.exclusions.wake.set()
        self._weights.wake.set()

    async def events(self, since: int) -> list[NodeEvent]:
        """What happened to nodes since then, newest first. Raises UnavailableError."""
        return await self._store.read(lambda connection: tables.events(connection, since))

    def ended(self, job: EndedJob) -> None:
        """A run has ended; those that completed say how good their nodes are, and what jobs of their kind bear."""
        if job.failed or job.state != "COMPLETED" or job.seconds < MIN_SECONDS or not job.node_list:
            return
        signature = job.signature.exact
        for node in expand(job.node_list):
            slowdown = self.stragglers.completed(node, signature, job.ended, job.seconds)
            during = [
                one for one in self.loads.history(node) if job.started < one.time <= job.ended + int(one.seconds * 1e9)
            ]
            met = Exposure(_mean([one.others for one in during]), _mean([one.own for one in during]), slowdown)
            self._store.pending.telemetry.expose(job.job_id, job.restart, node, signature, job.ended, job.seconds, met)
        self._store.wake()


def _mean(shares: list[Utilisation]) -> Utilisation:
    count = max(len(shares), 1)
    return Utilisation(*(sum(one.share(name) for one in shares) / count for name in RESOURCES))

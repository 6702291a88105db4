"""Nodes that report to another service on the same database: known here, too, and up while they are heard there."""

import asyncio
import contextlib
from collections.abc import Callable

from tierwise.errors import UnavailableError
from tierwise_decision.cluster import Cluster
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_decision.telemetry import READ_EVERY, Loads
from tierwise_policy.sampling import LONGEST

LOOK_EVERY = 60.0
"""Seconds between two looks at the tiers of nodes that are not known here: they come all at once."""


class Shared:
    """Tells the cluster of what `loads` has read of others. `interval` is that of agents' samples, in seconds."""

    def __init__(self, cluster: Cluster, loads: Loads, store: Store, interval: Callable[[], float]) -> None:
        self._cluster, self._loads, self._store, self._interval = cluster, loads, store, interval
        self._looked = -LOOK_EVERY

    async def run(self) -> None:
        """As long as the service runs."""
        while True:
            elsewhere, self._loads.elsewhere = self._loads.elsewhere, {}
            # Measurements, which is what is read, may come so much later than the samples that they stand for.
            late = LONGEST * self._interval()
            unknown = {node: heard for node, heard in elsewhere.items() if not self._cluster.heard(node, heard + late)}
            if unknown:
                self._loads.elsewhere = unknown | self._loads.elsewhere
                with contextlib.suppress(UnavailableError):  # counted already
                    await self._look()
            await asyncio.sleep(READ_EVERY)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        for sample, changed in await self._store.read(lambda connection: list(reads.nodes(connection))):
            self._cluster.restore(sample, changed / 1e9)
            await asyncio.sleep(0)

"""Measure, keep, deliver, and decide when to measure again."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tierwise.config import AgentConfig
from tierwise.errors import RefusedError, TierwiseError
from tierwise.telemetry import Measurement, StageAhead, TelemetryAnswer, TelemetryBatch
from tierwise.tiers import Tier
from tierwise_node.cgroups import Cgroups
from tierwise_node.jobs import Jobs
from tierwise_node.telemetry.gpus import Gpus, find_nvml
from tierwise_node.telemetry.hardware import Machine
from tierwise_node.telemetry.latency import round_trips
from tierwise_node.telemetry.meters import Meters
from tierwise_node.telemetry.slurm_use import SlurmUse
from tierwise_node.telemetry.spool import Spool
from tierwise_policy.sampling import change, next_interval

log = logging.getLogger(__name__)
BATCH = 500
"""Measurements in one message: about 60 KiB compressed."""
BAD_REQUEST = 400
Deliver = Callable[[TelemetryBatch], Awaitable[TelemetryAnswer]]


def telemetry_of(
    node: str, config: AgentConfig, folder: Path, deliver: Deliver, jobs: Jobs, cgroups: Cgroups
) -> "Telemetry":
    """The telemetry of this host as the node `node`; its spool is in `folder`."""
    gpus = Gpus(find_nvml(), lambda pid: cgroups.job_of(pid) is not None)
    machine = Machine(gpus)
    meters = Meters(machine, gpus, SlurmUse(config.cgroup), lambda: bool(jobs.records))
    return Telemetry(node, machine, meters, Spool(folder), deliver, jobs.tiers, config.report_interval)


class Telemetry:
    """The node's telemetry; `first` is the pause in seconds that it begins with. `problem`: why nothing arrives."""

    def __init__(
        self,
        node: str,
        machine: Machine,
        meters: Meters,
        spool: Spool,
        deliver: Deliver,
        tiers: Callable[[], tuple[Tier, ...]],
        first: float,
    ) -> None:
        self._node, self._machine, self._meters, self._spool = node, machine, meters, spool
        self._deliver, self._tiers, self._first = deliver, tiers, first
        self._peers: dict[str, str] = {}
        self.ahead: Callable[[tuple[StageAhead, ...]], None] = lambda sources: None
        """Hears what pending jobs will read here."""
        self.problem = ""

    async def run(self) -> None:
        """Measure until cancelled. A service that is away delays nothing: what it misses waits in the spool."""
        try:
            await self._run()
        finally:
            self._spool.close()

    async def _run(self) -> None:
        interval = self._first
        last: Measurement | None = None
        await asyncio.sleep(min(self._first, 1.0))
        while True:
            try:
                peers = await round_trips(self._peers)
                started = time.thread_time()
                measurement = msgspec.structs.replace(self._meters.measure(self._tiers()), peers=peers)
                self._spool.put(measurement)
                cost = time.thread_time() - started
                interval = next_interval(interval, change(last, measurement) if last else 0.0, cost, self._first)
                last = measurement
                await self._hand_over()
            except Exception:
                log.exception("a measurement failed")
            await asyncio.sleep(interval)

    async def _hand_over(self) -> None:
        """Deliver everything that waits, oldest first, until all is gone or the service is."""
        with contextlib.suppress(TierwiseError):
            while True:
                number, measurements = self._spool.oldest(BATCH)
                if not measurements or not await self._hand_over_some(number, measurements):
                    return

    async def _hand_over_some(self, number: int, measurements: tuple[Measurement, ...]) -> bool:
        memory = sum(tier.capacity for tier in self._tiers())
        batch = TelemetryBatch(self._node, self._machine.hardware(memory), measurements)
        try:
            answer = await self._deliver(batch)
        except RefusedError as error:
            self._tell(error)
            if error.status != BAD_REQUEST:
                return False  # who may not speak now may later: a node that is not in slurm.conf yet
            log.error("%d measurements are dropped: the service will never take them: %s", len(measurements), error)
        except TierwiseError as error:
            self._tell(error)
            return False
        else:
            self._peers, self.problem = answer.peers, ""
            self.ahead(answer.stage)
        return self._spool.acknowledge(number)

    def _tell(self, error: TierwiseError) -> None:
        if str(error) != self.problem:
            log.warning("%s: measurements wait in the spool", error)
        self.problem = str(error)

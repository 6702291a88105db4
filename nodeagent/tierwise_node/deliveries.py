"""What goes from the agent to the decision service: samples now and then, reports until they are taken."""

import asyncio
import contextlib
import logging

from tierwise.errors import RefusedError, TierwiseError
from tierwise_node.jobs import Jobs
from tierwise_node.journal import Journal
from tierwise_node.service import Service

log = logging.getLogger(__name__)
CLOSEST = 1.0
"""Seconds between two deliveries at least, however much changes."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries at most while the service is away: it should see this node soon after it is back."""


class Deliveries:
    """Sends a sample each `interval` seconds and when a job begins or ends, and the journal's queued reports."""

    def __init__(self, service: Service, jobs: Jobs, journal: Journal, interval: float) -> None:
        self._service, self._jobs, self._journal, self._interval = service, jobs, journal, interval
        self._changed = asyncio.Event()
        self._refused: set[int] = set()
        self._after = 0
        """The newest report of the last round: as many as one round has may have been refused."""
        self.problem = ""
        jobs.changed = self._changed.set

    async def run(self) -> None:
        """Deliver until cancelled. While the service is away the pauses grow; nothing is lost meanwhile."""
        pause = CLOSEST
        while True:
            self._changed.clear()
            try:
                await self._service.sample(self._jobs.node_sample())
                await self._reports()
                self.problem, pause = "", CLOSEST
            except TierwiseError as error:
                self._tell(error)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception:
                log.exception("a delivery failed")
            await asyncio.sleep(pause)
            if not self.problem:
                await self._until_changed(self._interval - CLOSEST)

    async def _reports(self) -> None:
        """The next queued reports, oldest first. Those that are refused stay, and hold up nothing else."""
        reports = self._journal.queued(after=self._after)
        for number, report in reports:
            try:
                await self._service.report(report)
                self._journal.delivered(number)
                self._refused.discard(number)
            except RefusedError as error:
                if number not in self._refused:
                    log.error("the report of job %s was refused, and is kept: %s", report.key, error)
                self._refused.add(number)
        self._after = reports[-1][0] if reports else 0

    async def _until_changed(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(seconds, 0))

    def _tell(self, error: TierwiseError) -> None:
        if str(error) != self.problem:
            log.warning("%s: samples are skipped, reports wait in the journal", error)
        self.problem = str(error)

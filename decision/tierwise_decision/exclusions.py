"""Which jobs are kept off which nodes: told to the hook at submission, and kept up to date while the job is pending."""

import asyncio
import contextlib
from collections import OrderedDict

from tierwise.errors import UnavailableError
from tierwise.hostlist import expand
from tierwise.slurmnodes import PendingJob
from tierwise_decision.database import selection as tables
from tierwise_decision.database.store import Store
from tierwise_decision.known import Known, remember
from tierwise_decision.requests import Requests
from tierwise_decision.selection import wanted_of
from tierwise_decision.settings import Settings
from tierwise_decision.slurm_view import SlurmView
from tierwise_decision.tales import token_of

EVERY = 30.0
MAX_WRITTEN = 50_000
Names = tuple[str, ...]


class Exclusions:
    """What each job is kept off, by its token."""

    def __init__(
        self,
        settings: Settings,
        view: SlurmView,
        known: Known,
        store: Store,
        requests: Requests,
    ) -> None:
        self._settings, self._view, self._known = settings, view, known
        self._store, self._requests = store, requests
        self.wake = asyncio.Event()
        """Set when it should look again before its time."""
        self._written: OrderedDict[str, Names] = OrderedDict()

    def wrote(self, token: str, names: Names) -> None:
        """The hook writes them onto the job with this token."""
        remember(self._written, token, names, MAX_WRITTEN)
        self._store.pending.selection.exclude(token, names)
        self._store.wake()

    async def run(self) -> None:
        """As long as the service runs: jobs that wait get the list that is right now."""
        while self._view.installed:
            with contextlib.suppress(UnavailableError):  # counted already, and tried again
                self._written |= await self._store.read(tables.exclusions)
                break
            await asyncio.sleep(EVERY)
        while self._view.installed:
            with contextlib.suppress(UnavailableError):
                await self._view.look()
                if self._known.avoided or self._written:
                    await self._refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self.wake.wait()
            self.wake.clear()

    def _on(self) -> bool:
        return self._settings.config.service.exclude

    async def _refresh(self) -> None:
        for job in await self._view.ask(lambda client: client.pending()):
            token = token_of(job.comment)
            ours = self._written.get(token, ())
            if not token or job.narrowed or set(_names(job)) != set(ours):
                continue  # the user chose nodes, or changed what we had chosen
            request = await self._requests.find(token)
            if request is None or request.directive == "off":
                continue
            names = self._known.to_avoid(job.partition, wanted_of(request), ours) if self._on() else ()
            if set(names) != set(ours):
                await self._view.ask(lambda client, job=job, names=names: client.exclude(job, names))  # type: ignore[misc]
                self.wrote(token, names)


def _names(job: PendingJob) -> Names:
    try:
        return expand(job.excluded)
    except ValueError:
        return (job.excluded,)

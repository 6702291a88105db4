"""Which jobs are kept off which nodes: told to the hook at submission, and kept up to date while the job is pending."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Collection

from tierwise.errors import UnavailableError
from tierwise.hostlist import expand
from tierwise.slurmnodes import PendingJob
from tierwise_decision.database import selection as tables
from tierwise_decision.database.store import Store
from tierwise_decision.requests import Requests
from tierwise_decision.selection import wanted_of
from tierwise_decision.settings import Settings
from tierwise_decision.slurm_view import SlurmView
from tierwise_decision.stragglers import Stragglers
from tierwise_decision.tales import token_of
from tierwise_decision.telemetry import Loads
from tierwise_policy.exclusion import exclusions
from tierwise_policy.selection import Wanted

EVERY = 30.0
MAX_KNOWN = 50_000
Names = tuple[str, ...]


class Exclusions:
    """What each job is kept off, by its token."""

    def __init__(
        self,
        settings: Settings,
        view: SlurmView,
        loads: Loads,
        stragglers: Stragglers,
        store: Store,
        requests: Requests,
    ) -> None:
        self._settings, self._view, self._loads = settings, view, loads
        self._stragglers, self._store, self._requests = stragglers, store, requests
        self.wake = asyncio.Event()
        """Set when it should look again before its time."""
        self._known: OrderedDict[str, Names] = OrderedDict()

    def choose(self, partition: str, wanted: Wanted, held: Collection[str] = ()) -> Names:
        """The nodes that a job is to be kept off. Never asks anybody: the hook waits for it."""
        if not self._settings.config.service.exclude:
            return ()
        reasons = {node: mark.number or 1.0 for node, mark in self._stragglers.avoided().items()}
        if wanted.network:  # the other totals Slurm checks itself
            reasons |= dict.fromkeys(self._loads.slower_than(wanted.network), 1.0)
        if not reasons:
            return ()
        return exclusions(reasons, self._view.eligible(partition), wanted.nodes, held)

    def wrote(self, token: str, names: Names) -> None:
        """The hook writes them onto the job with this token."""
        self._known[token] = names
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        self._store.pending.selection.exclude(token, names)
        self._store.wake()

    async def run(self) -> None:
        """As long as the service runs: jobs that wait get the list that is right now."""
        while self._view.installed:
            with contextlib.suppress(UnavailableError):  # counted already, and tried again
                self._known |= await self._store.read(tables.exclusions)
                break
            await asyncio.sleep(EVERY)
        while self._view.installed:
            with contextlib.suppress(UnavailableError):
                await self._view.look()
                if self._stragglers.avoided() or self._known:
                    await self._refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self.wake.wait()
            self.wake.clear()

    async def _refresh(self) -> None:
        for job in await self._view.ask(lambda client: client.pending()):
            token = token_of(job.comment)
            ours = self._known.get(token, ())
            if not token or job.narrowed or set(_names(job)) != set(ours):
                continue  # the user chose nodes, or changed what we had chosen
            request = await self._requests.find(token)
            if request is None or request.directive == "off":
                continue
            names = self.choose(job.partition, wanted_of(request), ours)
            if set(names) != set(ours):
                await self._view.ask(lambda client, job=job, names=names: client.exclude(job, names))  # type: ignore[misc]
                self.wrote(token, names)


def _names(job: PendingJob) -> Names:
    try:
        return expand(job.excluded)
    except ValueError:
        return (job.excluded,)

"""The requests of submitted jobs, by token: the recent ones in memory, all that were written in the database."""

import time
from collections import OrderedDict

import msgspec

from tierwise.errors import UnavailableError
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_decision.requested import Requested

MAX_RECENT = 50_000


class Requests:
    """What the hook has told. Adding never waits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: OrderedDict[str, Requested] = OrderedDict()

    def add(self, request: Requested) -> None:
        """Remember a request, and write it behind the caller's back."""
        self._recent[request.token] = request
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        self._store.pending.requests.append(msgspec.structs.asdict(request))
        self._store.wake()

    async def find(self, token: str) -> Requested | None:
        """The request that a token stands for; None when it is not known, or the database can't say."""
        if found := self._recent.get(token):
            return found
        try:
            row = await self._store.read(lambda connection: reads.request(connection, token))
        except UnavailableError:
            return None
        return Requested(**row._mapping) if row else None

    def claim(self, token: str) -> None:
        """An agent has asked for a plan with this token: its job runs."""
        now = time.time_ns()
        found = self._recent.get(token)
        if found and found.claimed is None:
            self._recent[token] = msgspec.structs.replace(found, claimed=now)
        if found is None or found.claimed is None:
            self._store.pending.claim(token, now)

    async def unclaimed(self, uid: int | None, limit: int) -> list[Requested]:
        """The newest requests whose job has not started; of one user, or of all."""
        waiting = {
            token: request
            for token, request in self._recent.items()
            if request.claimed is None and uid in (None, request.uid)
        }
        try:
            rows = await self._store.read(lambda connection: reads.requests(connection, uid, limit))
        except UnavailableError:
            rows = []
        for row in rows:
            if row.token not in self._recent:
                waiting[row.token] = Requested(**row._mapping)
        return sorted(waiting.values(), key=lambda request: -request.time)[:limit]

    def forget_unclaimed(self, hours: float) -> int:
        """Forget, in memory, requests that nobody claimed in `hours` (and claimed ones: the database has them).

        Returns the time, in nanoseconds, before which the database may forget the unclaimed ones too.
        """
        before = time.time_ns() - int(hours * 3600e9)
        while self._recent and next(iter(self._recent.values())).time < before:
            self._recent.popitem(last=False)
        return before

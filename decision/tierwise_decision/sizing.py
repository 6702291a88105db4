"""Estimates for submissions: learned from ended jobs behind everybody's back and prepared; estimates.py reads them."""

import asyncio
from collections import OrderedDict

from tierwise.errors import UnavailableError
from tierwise.slurm import SlurmJob
from tierwise_decision.complaints import Complaints
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_decision.known import Known, News, remember
from tierwise_decision.runs import EndedJob, from_row
from tierwise_decision.tales import SECOND, token_of
from tierwise_policy.signature import Signature, signature
from tierwise_policy.sizing import Estimator, Run

_RECENT = 20_000
"""Submissions whose kind is remembered, and runs that are known to be learned."""
_RESTORED = 20_000
"""Runs that a service which starts learns from the database, the newest."""
_AT_ONCE = 4
"""Runs that are learned before others have their turn: some 4 ms."""
_FOLLOW_EVERY = 30.0
_LATE = 300 * SECOND
"""A run may be written so long after its end: it waits for its agents, or for a database that was away."""


class Sizing:
    """Learns from ended jobs, those of other service processes on the same database included; tells `known`."""

    def __init__(self, known: Known, store: Store, complain: Complaints) -> None:
        self._known = known
        self._store = store
        self._complain = complain
        self._estimator = Estimator()
        self._submitted: OrderedDict[tuple[str, int], Signature] = OrderedDict()
        self._learned: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._newest = 0

    def submitted(self, token: str, uid: int, kind: Signature) -> None:
        """Remember what kind of job has a token: its end may not tell (its script is gone, or it never ran one)."""
        remember(self._submitted, (token, uid), kind, _RECENT)

    def kind_of(self, token: str, uid: int) -> Signature | None:
        """What kind of job a token was given to, where that is remembered, and it was given to `uid`."""
        return self._submitted.get((token, uid))

    def likely(self, job: SlurmJob) -> tuple[int, int]:
        """Bytes per node and seconds that a job which failed would need by its kind's history; 0 where not known."""
        known = self.kind_of(token_of(job.comment), job.uid) or signature(job.uid, job_name=job.name)
        found = self._known.estimate(known)
        return (found.limit, int(found.seconds)) if found else (0, 0)

    def learn(self, job: EndedJob) -> None:
        """A run has ended. Learned once, however often it is told."""
        key = (job.job_id, job.started)
        run = run_of(job)
        if key in self._learned or run is None:
            return
        remember(self._learned, key, None, _RECENT)
        self._newest = max(self._newest, job.ended)
        kind = self.kind_of(job.token, job.uid) or job.signature
        self._estimator.observe(kind, run)
        looked_up = {one: self._estimator.look_up(one, level) for one, level in kind.keys}
        self._known.take(News(estimates={one: found for one, found in looked_up.items() if found}))

    async def run(self) -> None:
        """As long as the service runs: learn what the database knows, and what other services write there."""
        await self._store.opened.wait()
        while True:
            try:
                await self._catch_up()
            except UnavailableError:
                pass  # the store has complained; the next look finds what was missed
            except Exception as error:
                self._complain("internal", f"could not learn from history: {error!r}", trace=error)
            await asyncio.sleep(_FOLLOW_EVERY)

    async def _catch_up(self) -> None:
        since = max(self._newest - _LATE, 0)
        rows = await self._store.read(lambda connection: reads.ended_since(connection, since, _RESTORED))
        for number, row in enumerate(rows):
            self.learn(from_row(row))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)


def run_of(job: EndedJob) -> Run | None:
    """What an ended job teaches; None where it was cancelled, or failed by itself: it may have needed more."""
    asked = float(job.asked_memory)
    if job.cause == "memory":
        return Run(peak=asked or float(job.peak), seconds=job.seconds, asked=asked, out_of_memory=True)
    if job.cause == "time":
        return Run(peak=float(job.peak), seconds=float(job.time_limit) or job.seconds, asked=asked, out_of_time=True)
    if job.cause == "well":
        return Run(peak=float(job.peak), seconds=job.seconds, hot=float(job.hot), asked=asked)
    return None

"""Jobs that have ended: what Slurm says of each run, put together with what the agents saw of it.

A run is told of by EpilogSlurmctld (failures.py), by jobcomp/script, and where there is a slurmdbd by sacct: the same
run may come by several ways, so it is kept by job and start. It waits a moment for its agents' reports; then it is
written, and whoever learns from ended jobs hears of it once.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tierwise.errors import TierwiseError, UnavailableError
from tierwise.messages import JobReport
from tierwise.slurm import Slurm, SlurmJob
from tierwise_decision.complaints import Complaints
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_decision.runs import EndedJob, Mended, changes, from_row, join, kind, to_row
from tierwise_decision.tales import SECOND, parse_tale, target_of, token_of
from tierwise_policy.signature import Signature

MAX_RECENT = 10_000
REPORT_WAIT = 10.0
"""Seconds that an ended job waits for its agents' reports: they come within one, where agents run."""
_NOT_FINAL = ("COMPLETING", "PENDING", "REQUEUED")
_ACCOUNT_EVERY = 60.0
MAX_SCRIPT = 16 * 1024
"""What the hook tells of a script, and so what its signature is made of."""


Listener = Callable[[EndedJob], None]


class History:
    """The runs that have ended. `listen` before the service serves."""

    def __init__(self, slurm: Slurm | None, store: Store, complain: Complaints) -> None:
        self._slurm = slurm
        self._store = store
        self._complain = complain
        self._listeners: list[Listener] = []
        self._reports: OrderedDict[tuple[int, int], dict[str, JobReport]] = OrderedDict()
        self._ended: OrderedDict[tuple[int, int], EndedJob] = OrderedDict()
        self._arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled: set[tuple[int, int]] = set()
        """Runs that still wait for their agents' reports, and are not written yet."""
        self.kind_of: Callable[[str, int], Signature | None] = lambda token, uid: None
        """The signature of the submission that has a token, where that is known. Set by who keeps them."""

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each run once, when it is known as well as it ever will be."""
        self._listeners.append(listener)

    def reported(self, report: JobReport) -> None:
        """An agent's report of a run has come. Its curve, by far its largest part, teaches nothing here."""
        kept = msgspec.structs.replace(report, curve=())
        self._reports.setdefault((report.key.job_id, report.key.restart), {})[report.node] = kept
        if len(self._reports) > MAX_RECENT:
            self._reports.popitem(last=False)
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def reports(self, job: SlurmJob, patience: float) -> list[JobReport]:
        """The agents' reports of a run: of all its nodes, or what has come within `patience` seconds."""
        key = (job.job_id, job.restarts)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while len(self._reports.get(key, {})) < max(job.nodes, 1):
                    await self._arrived.wait()
        return [report for report in self._reports.get(key, {}).values() if report.uid == job.uid]

    async def follow_accounting(self) -> None:
        """As long as the service runs, where there is a slurmdbd: the runs that nobody told us of, and what the others
        held where no agent saw it."""
        since = 0
        await self._store.committed()  # it is open then
        while self._slurm:
            try:
                if await asyncio.to_thread(self._slurm.accounted):
                    since = await self._account(self._slurm, since or await self._newest())
            except TierwiseError as error:
                self._complain("slurm", str(error))
            await asyncio.sleep(_ACCOUNT_EVERY)

    async def _newest(self) -> int:
        """When the newest run ended that the database knows; at most a day ago."""
        newest = await self._store.read(reads.newest_end)
        return max(newest, time.time_ns() - 86400 * SECOND)

    async def _account(self, slurm: Slurm, since: int) -> int:
        """Read what has ended since then; when to begin the next time: slurmdbd hears of some ends late."""
        now = time.time_ns()
        for job in await asyncio.to_thread(slurm.ended, since):
            known = next((one for one in await self.attempts(job.job_id) if one.started == job.started), None)
            if known is None:
                self.ended(job)
            elif not known.peak and job.peak:
                self._write(self._keep(msgspec.structs.replace(known, peak=job.peak)))
        return now - int(_ACCOUNT_EVERY * SECOND)

    async def told(self, fields: Mapping[str, str]) -> dict[str, str | int]:
        """jobcomp/script tells that a run has ended, in which state, and when it began."""
        tale = parse_tale(fields)
        if known := self._ended.get((tale.job_id, tale.started * SECOND)):
            if known.state in _NOT_FINAL:
                self.amend(known.job_id, known.started, state=tale.state)
            return {"status": "ok"}
        job = tale.job()
        if self._slurm:
            with contextlib.suppress(TierwiseError):  # then the tale has to do
                known_there = await asyncio.to_thread(self._slurm.job, tale.job_id, target_of(fields))
                if known_there and known_there.started == job.started:
                    job = msgspec.structs.replace(known_there, node_list=known_there.node_list or job.node_list)
        self.ended(msgspec.structs.replace(job, state=tale.state, ended=tale.ended * SECOND))
        return {"status": "ok"}

    def ended(self, job: SlurmJob, mend: Mended | None = None) -> None:
        """A run has ended, Slurm says; `mend` is what we did about it. May be told twice. Never waits."""
        if not job.started:
            return
        if (job.job_id, job.started) in self._ended:
            self.amend(job.job_id, job.started, **changes(mend))
            return
        one = self._keep(join(job, self.kind_of(token_of(job.comment), job.uid), [], mend))
        self._unsettled.add((job.job_id, job.started))
        if mend:  # how often it was requeued must be known whatever happens; the rest is written once it is whole
            self._write(one)
        task = asyncio.get_running_loop().create_task(self._settle(job, mend))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def amend(self, job_id: int, started: int, **changes: Any) -> None:
        """Something about a run has become known, or was done, after all."""
        known = self._ended.get((job_id, started))
        if known and changes:
            self._write(self._keep(msgspec.structs.replace(known, **changes)))

    def flush(self) -> None:
        """The service stops: write what still waits, as far as it is known."""
        for key in self._unsettled:
            if one := self._ended.get(key):
                self._write(one)

    async def attempts(self, job_id: int, uid: int | None = None) -> list[EndedJob]:
        """All runs of a job, oldest first; of `uid` alone: job ids come again."""
        try:
            rows = await self._store.read(lambda connection: reads.ended_runs(connection, job_id))
        except UnavailableError:
            rows = []
        found = {one.started: one for one in map(from_row, rows)}
        found |= {one.started: one for one in self._ended.values() if one.job_id == job_id}
        return [found[started] for started in sorted(found) if uid in (None, found[started].uid)]

    async def _settle(self, job: SlurmJob, mend: Mended | None) -> None:
        signature = self.kind_of(token_of(job.comment), job.uid) or kind(job, await self._script(job))
        reports = await self.reports(job, REPORT_WAIT)
        before = self._ended[job.job_id, job.started]  # amended meanwhile, perhaps
        now = join(await self._final(job, before), signature, reports, mend)
        now = msgspec.structs.replace(now, **{name: getattr(before, name) for name in Mended.__struct_fields__})
        self._unsettled.discard((job.job_id, job.started))
        self._write(self._keep(now))
        for listener in self._listeners:
            try:
                listener(now)
            except Exception as error:  # one who can't learn from it must not keep others from it
                self._complain("internal", f"a listener of ended jobs failed: {error!r}", trace=error)

    async def _final(self, job: SlurmJob, known: EndedJob) -> SlurmJob:
        """The run with its last state: a job that was cancelled, say, shows no sign of it while it is COMPLETING."""
        state = known.state
        if state in _NOT_FINAL and not known.retried and self._slurm:
            with contextlib.suppress(TierwiseError):
                last = await asyncio.to_thread(self._slurm.job, job.job_id, job.target)
                if last and last.started == job.started:
                    state = last.state
        return msgspec.structs.replace(job, state=state, node_list=known.node_list or job.node_list)

    async def _script(self, job: SlurmJob) -> str:
        if self._slurm is None or not job.batch:
            return ""
        try:
            text = await asyncio.to_thread(self._slurm.script, job.job_id)
        except TierwiseError as error:
            self._complain("slurm", str(error))
            return ""
        return text.encode()[:MAX_SCRIPT].decode(errors="ignore")

    def _keep(self, one: EndedJob) -> EndedJob:
        self._ended[one.job_id, one.started] = one
        if len(self._ended) > MAX_RECENT:
            self._ended.popitem(last=False)
        return one

    def _write(self, one: EndedJob) -> None:
        self._store.pending.ended_jobs.append(to_row(one))
        self._store.wake()

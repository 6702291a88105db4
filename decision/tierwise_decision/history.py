"""Jobs that have ended: what Slurm says of each run, put together with what the agents saw of it.

A run is told of by EpilogSlurmctld (failures.py), by jobcomp/script, and where there is a slurmdbd by sacct: the same
run may come by several ways, so it is kept by job and start. It waits a moment for its agents' reports; then it is
written, and whoever learns from ended jobs hears of it once.
"""

import asyncio
import contextlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tierwise.errors import ProtocolError, TierwiseError, UnavailableError
from tierwise.messages import Attempt, Count, JobReport
from tierwise.slurm import Slurm, SlurmJob
from tierwise_decision.complaints import Complaints
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_policy.failures import Ending, ending
from tierwise_policy.signature import Signature, signature

MAX_RECENT = 10_000
REPORT_WAIT = 10.0
"""Seconds that an ended job waits for its agents' reports: they come within one, where agents run."""
_NOT_FINAL = ("COMPLETING", "PENDING", "REQUEUED")
_NO_TASK = 0xFFFFFFFE
"""Slurm's NO_VAL."""
_ACCOUNT_EVERY = 60.0
SECOND = 1_000_000_000
_TOKEN = re.compile(r"(?:^|\s)tierwise=([0-9a-f]{16})$")
MAX_SCRIPT = 16 * 1024
"""What the hook tells of a script, and so what its signature is made of."""


class EndedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job that has ended. Bytes, seconds and nanoseconds; 0 for what nobody knows.

    `asked_memory` is per node, `peak` the largest that the job held on any node (the agents', else accounting's),
    `nodes` how many it had. `hot` is the largest part on any node that took most accesses, where that could be
    trusted; `input_bytes` is what it read, where that is known. `action` is what we did about it.
    """

    job_id: int
    started: int
    restart: int
    uid: int
    signature: Signature
    token: str = ""
    array: bool = False
    state: str
    cause: str
    failed: bool
    exit_code: int = 0
    exit_signal: int = 0
    asked_memory: int = 0
    peak: int = 0
    hot: int = 0
    seconds: float = 0.0
    time_limit: int = 0
    input_bytes: int = 0
    nodes: int = 1
    node_list: str = ""
    partition: str = ""
    job_name: str = ""
    ended: int = 0
    action: str = ""

    next_memory: int = 0
    next_seconds: int = 0
    retried: bool = False
    """Whether we requeued it, and what the next attempt asks for, 0: as before."""


class Mended(msgspec.Struct, frozen=True):
    """What we did about a run that failed; the fields are those of EndedJob."""

    action: str
    next_memory: int = 0
    next_seconds: int = 0
    retried: bool = False


class Tale(msgspec.Struct, frozen=True, kw_only=True):
    """What jobcomp/script tells of a run (docs/protocol.md, *ended*). Times are seconds."""

    job_id: Count
    uid: Count
    state: Annotated[str, Meta(max_length=32)]
    started: Annotated[int, Meta(ge=0, lt=1 << 33)]
    ended: Annotated[int, Meta(ge=0, lt=1 << 33)]
    exit_code: Count = 0
    exit_signal: Count = 0
    nodes: Count = 1
    partition: str = ""
    job_name: str = ""

    def job(self) -> SlurmJob:
        """The run, where Slurm itself has forgotten it."""
        return SlurmJob(
            job_id=self.job_id,
            uid=self.uid,
            state=self.state,
            name=self.job_name,
            exit_code=self.exit_code,
            exit_signal=self.exit_signal,
            partition=self.partition,
            nodes=self.nodes,
            started=self.started * SECOND,
            ended=self.ended * SECOND,
        )


Listener = Callable[[EndedJob], None]
Row = dict[str, Any]


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
        """An agent's report of a run has come."""
        self._reports.setdefault((report.key.job_id, report.key.restart), {})[report.node] = report
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
        try:
            tale = msgspec.convert(fields, Tale, strict=False)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"not the end of a job: {error}") from None
        if known := self._ended.get((tale.job_id, tale.started * SECOND)):
            if known.state in _NOT_FINAL:
                self.amend(known.job_id, known.started, state=tale.state)
            return {"status": "ok"}
        job = tale.job()
        if self._slurm:
            with contextlib.suppress(TierwiseError):  # then the tale has to do
                known_there = await asyncio.to_thread(self._slurm.job, tale.job_id, target_of(fields))
                if known_there and known_there.started == job.started:
                    job = known_there
        self.ended(msgspec.structs.replace(job, state=tale.state, ended=tale.ended * SECOND))
        return {"status": "ok"}

    def ended(self, job: SlurmJob, mend: Mended | None = None) -> None:
        """A run has ended, Slurm says; `mend` is what we did about it. May be told twice. Never waits."""
        if not job.started:
            return
        if (job.job_id, job.started) in self._ended:
            self.amend(job.job_id, job.started, **_changes(mend))
            return
        one = self._keep(self._join(job, self.kind_of(token_of(job.comment), job.uid), [], mend))
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
        kind = self.kind_of(token_of(job.comment), job.uid) or self._signature(job, await self._script(job))
        reports = await self.reports(job, REPORT_WAIT)
        before = self._ended[job.job_id, job.started]  # amended meanwhile, perhaps
        now = self._join(await self._final(job, before), kind, reports, mend)
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

    @staticmethod
    def _signature(job: SlurmJob, script: str) -> Signature:
        return signature(
            job.uid,
            script=script,
            job_name=job.name,
            command=job.command,
            partition=job.partition,
            array=bool(job.array_id),
            image=job.image,
        )

    def _join(
        self, job: SlurmJob, kind: Signature | None, reports: Sequence[JobReport], mend: Mended | None
    ) -> EndedJob:
        how = verdict(job, reports)
        return EndedJob(
            job_id=job.job_id,
            started=job.started,
            restart=job.restarts,
            uid=job.uid,
            signature=kind or self._signature(job, ""),
            token=next((report.key.token for report in reports), token_of(job.comment)),
            array=bool(job.array_id),
            state=job.state,
            cause=how.cause,
            failed=how.failed,
            exit_code=job.exit_code,
            exit_signal=job.exit_signal,
            asked_memory=job.memory,
            peak=max([report.peak for report in reports], default=job.peak),
            hot=max([report.heat.hot for report in reports if report.heat and report.heat.trusted], default=0),
            seconds=max(job.ended - job.started, 0) / SECOND,
            time_limit=job.time_limit,
            nodes=job.nodes,
            node_list=job.node_list,
            partition=job.partition,
            job_name=job.name[:256],
            ended=job.ended,
            **_changes(mend),
        )

    def _keep(self, one: EndedJob) -> EndedJob:
        self._ended[one.job_id, one.started] = one
        if len(self._ended) > MAX_RECENT:
            self._ended.popitem(last=False)
        return one

    def _write(self, one: EndedJob) -> None:
        self._store.pending.ended_jobs.append(to_row(one))
        self._store.wake()


def _changes(mend: Mended | None) -> dict[str, Any]:
    return {} if mend is None else msgspec.structs.asdict(mend)


def verdict(job: SlurmJob, reports: Sequence[JobReport]) -> Ending:
    """How a run ended, by what Slurm and the agents say."""
    return ending(
        job.state,
        job.reason,
        exit_code=job.exit_code,
        exit_signal=job.exit_signal,
        derived_signal=job.derived_signal,
        oom_kills=sum(report.oom_kills for report in reports),
    )


def target_of(fields: Mapping[str, str]) -> str:
    """How Slurm names an array's task that one of its scripts tells of; empty for other jobs."""
    array, task = fields.get("array_job", ""), fields.get("array_task", "")
    known = array.isdigit() and task.isdigit() and int(array) > 0 and int(task) < _NO_TASK
    return f"{array}_{task}" if known else ""


def token_of(comment: str) -> str:
    """The token at the end of a comment that our hook wrote (slurm_plugin/tierwise_hook/comment.lua)."""
    found = _TOKEN.search(comment)
    return found[1] if found else ""


def attempt(one: EndedJob) -> Attempt:
    """A run as tierctl shows it."""
    return Attempt(
        restart=one.restart,
        state=one.state[:512],
        cause=one.cause,
        exit_code=one.exit_code,
        exit_signal=one.exit_signal,
        memory=one.asked_memory,
        peak=one.peak,
        time_limit=one.time_limit,
        started=one.started,
        ended=one.ended,
        nodes=one.node_list[:512],
        action=one.action[:512],
    )


def to_row(one: EndedJob) -> Row:
    """The row of `ended_jobs`: the signature's keys are columns of their own."""
    row = msgspec.structs.asdict(one)
    keys = msgspec.structs.asdict(row.pop("signature"))
    return row | {f"key_{name}": key for name, key in keys.items()}


def from_row(row: Mapping[str, Any]) -> EndedJob:
    """The way back."""
    own = {name: value for name, value in row.items() if not name.startswith("key_")}
    keys = {name.removeprefix("key_"): value for name, value in row.items() if name.startswith("key_")}
    return EndedJob(signature=Signature(**keys), **own)

"""Jobs that failed and may try again: requeued with a larger request, before they are final.

EpilogSlurmctld asks while a job is COMPLETING: what is requeued then keeps its dependents waiting. Only a job whose
user allowed it (--tier-retry=N) is requeued, at most N times, which we count ourselves. The larger request can only be
written once Slurm shows the job as pending again: that happens behind the epilog's back, and goes on after a restart of
the service.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from tierwise.errors import TierwiseError, UnavailableError
from tierwise.slurm import Slurm, SlurmError, SlurmJob
from tierwise.tiers import GRES_PREFIX
from tierwise.units import MIB, format_size
from tierwise_decision.complaints import Complaints
from tierwise_decision.history import SECOND, EndedJob, History, Mended, token_of, verdict
from tierwise_decision.requests import Requested, Requests
from tierwise_policy.failures import Cause, Ending, Mend, mend

Answer = dict[str, str | int]
Likely = Callable[[SlurmJob], tuple[int, int]]
"""What history says that a job needs: bytes per node and seconds, 0 where it says nothing."""
Gres = Callable[[Requested, int], str]
"""The GRES of a request with another memory per node."""

REPORT_PATIENCE = 4.0
"""Seconds to wait for the agents where only they can tell memory from the program's own failure."""
_PENDING_PATIENCE = 300.0
"""Seconds for a requeued job to be pending again: it waits for its nodes' epilogs."""
_LOOK = 0.5
_RESUME_PATIENCE = 60.0
_MENDABLE: tuple[Cause, ...] = ("memory", "time", "node")
_WORDS: dict[Cause, str] = {"memory": "out of memory", "time": "out of time", "node": "its node failed"}
log = logging.getLogger("tierwise.decision")


class Failures:
    """Answers EpilogSlurmctld, and mends."""

    def __init__(
        self, slurm: Slurm | None, requests: Requests, history: History, gres: Gres, complain: Complaints
    ) -> None:
        self._slurm = slurm
        self._gres = gres
        self._requests = requests
        self._history = history
        self._complain = complain
        self._tasks: set[asyncio.Task[None]] = set()
        self.likely: Likely = lambda _: (0, 0)
        """Set by who estimates."""

    async def ending(self, fields: Mapping[str, str]) -> Answer:
        """A job is COMPLETING: remember how it ended, and requeue it where that is allowed and helps."""
        job_id = int(fields.get("job_id", ""))
        slurm = self._slurm
        if slurm is None:
            return {"status": "none", "reason": "no Slurm client is installed with the decision service"}
        job = await asyncio.to_thread(slurm.job, job_id)
        if job is None:
            return {"status": "none", "reason": f"Slurm does not know job {job_id}"}
        mended = await self._consider(slurm, job)
        self._history.ended(job, mended)
        if mended and mended.pending:
            self._later(self._write(slurm, job, mended))
        return {"status": "ok", "action": mended.action if mended else ""}

    async def resume(self) -> None:
        """Finish what an earlier service began. Once, at the start."""
        with contextlib.suppress(UnavailableError):
            for one in await self._history.unmended():
                if self._slurm and time.time_ns() - one.ended < _RESUME_PATIENCE * 60 * SECOND:
                    self._later(self._resume(self._slurm, one))

    async def _consider(self, slurm: Slurm, job: SlurmJob) -> Mended | None:
        """What is done about a run that has ended; None where its user asked for nothing."""
        request = await self._requests.find(token) if (token := token_of(job.comment)) else None
        if request is None or request.uid != job.uid or not request.retry:
            return None
        how = verdict(job, [])
        if how.cause in ("program", "well"):  # a step may have run out of memory: its node's agent knows
            how = verdict(job, await self._history.reports(job, REPORT_PATIENCE))
        if not how.failed or how.cause not in _MENDABLE:
            return Mended(_left_alone(how)) if how.cause == "memory" or how.failed else None
        done = sum(bool(one.retried) for one in await self._history.attempts(job.job_id, job.uid))
        what = _WORDS[how.cause]
        if done >= request.retry:
            return Mended(f"{what}; not requeued: it has had its {request.retry} retries")
        if not job.requeue:
            return Mended(f"{what}; not requeued: it says --no-requeue")
        larger = await self._larger(slurm, job, how.cause)
        if larger.why_not:
            return Mended(f"{what}; not requeued: {larger.why_not}")
        await asyncio.to_thread(slurm.requeue, job)
        action = f"{what}; requeued {_with(larger)} (retry {done + 1} of {request.retry})"
        log.info("job %s: %s", job.target, action)
        return Mended(action, larger.memory, larger.seconds, pending=True, retried=True)

    async def _larger(self, slurm: Slurm, job: SlurmJob, cause: Cause) -> Mend:
        capacity = await asyncio.to_thread(slurm.capacity, job.partition)
        memory, seconds = self.likely(job)
        return mend(
            cause,
            job.memory,
            job.time_limit,
            most_memory=capacity.largest(job.nodes) // MIB * MIB,
            most_seconds=capacity.time_limit,
            likely_memory=memory,
            likely_seconds=seconds,
        )

    async def _write(self, slurm: Slurm, job: SlurmJob, mended: Mended) -> None:
        """Wait until the job is pending again, write its larger request, and let it start."""
        deadline = time.monotonic() + _PENDING_PATIENCE
        try:
            while True:
                now = await asyncio.to_thread(slurm.job, job.job_id)
                if now is None or now.state in ("CANCELLED", "RUNNING") or time.monotonic() > deadline:
                    raise SlurmError(f"it is {now.state if now else 'gone'}, not pending")
                if now.state == "PENDING" and now.restarts > job.restarts:
                    break
                await asyncio.sleep(_LOOK)
            gres = await self._new_gres(now, mended.next_memory)
            await asyncio.to_thread(
                slurm.update, now, memory=mended.next_memory, seconds=mended.next_seconds, gres=gres, now=True
            )
        except TierwiseError as error:
            why = f"{mended.action}, but its larger request could not be written: {error}"
            self._complain("requeue", f"job {job.target}: {why}")
            self._history.amend(job.job_id, job.started, pending=False, action=why)
        else:
            self._history.amend(job.job_id, job.started, pending=False)

    async def _new_gres(self, job: SlurmJob, memory: int) -> str:
        """GRES add up to the job's memory: ours grow with it. Empty where there are none of ours."""
        if not memory or GRES_PREFIX not in job.gres:
            return ""
        request = await self._requests.find(token_of(job.comment))
        return self._gres(request, memory) if request else ""

    async def _resume(self, slurm: Slurm, one: EndedJob) -> None:
        try:
            job = await asyncio.to_thread(slurm.job, one.job_id)
        except TierwiseError as error:
            self._complain("requeue", f"job {one.job_id}: {error}")
            return
        if job is not None and job.uid == one.uid:
            self._history.remember(one)
            before = SlurmJob(job_id=job.job_id, uid=job.uid, state="", restarts=one.restart, started=one.started)
            await self._write(slurm, before, Mended(one.action, one.next_memory, one.next_seconds, True, True))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _left_alone(how: Ending) -> str:
    if how.cause == "memory":
        return "a step ran out of memory; not requeued: the job itself ended well"
    return "the program's own failure; not requeued: more of anything would not help"


def _with(larger: Mend) -> str:
    if larger.memory:
        return f"with {format_size(larger.memory)} on each node"
    if larger.seconds:
        return f"with a limit of {larger.seconds // 60} min"
    return "as it was"

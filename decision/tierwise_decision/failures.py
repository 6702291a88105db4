"""Jobs that failed and may try again: requeued with a larger request, before they are final.

EpilogSlurmctld asks while a job is COMPLETING: what is requeued then keeps its dependents waiting, and its request can
be changed at once. Only a job whose user allowed it (--tier-retry=N) is requeued, at most N times, which we count
ourselves.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from tierwise.errors import ProtocolError
from tierwise.messages import PlanQuery
from tierwise.slurm import Slurm, SlurmError, SlurmJob
from tierwise.tiers import GRES_PREFIX
from tierwise.units import MIB, format_size
from tierwise_decision.complaints import Complaints
from tierwise_decision.history import History
from tierwise_decision.requested import Requested
from tierwise_decision.requests import Requests
from tierwise_decision.runs import Mended, verdict
from tierwise_decision.tales import target_of, token_of
from tierwise_policy.failures import Cause, Mend, mend

Answer = dict[str, str | int]
Likely = Callable[[SlurmJob], tuple[int, int]]
"""What history says that a job needs: bytes per node and seconds, 0 where it says nothing."""
Gres = Callable[[Requested, int], str]
"""The GRES of a request with another memory per node."""

REPORT_PATIENCE = 4.0
"""Seconds to wait for the agents where only they can tell memory from the program's own failure."""
IN_TIME = 9.0
"""Seconds after which EpilogSlurmctld's script is killed, or soon will be: the job is final, its dependents lost."""
_LATE = "too late for jobs that depend on it: Slurm was slow"
_PENDING_PATIENCE = 300.0
"""Seconds for a requeued job to be pending again: it waits for its nodes' epilogs."""
_LOOK = 1.0
_MENDABLE: tuple[Cause, ...] = ("memory", "time")
_LEFT_ALONE: dict[Cause, str] = {
    "memory": "not requeued: a step ran out of memory, but the job itself ended well",
    "program": "not requeued: the program's own failure, more of anything would not help",
    "node": "Slurm itself requeues it, where its user lets it",
}
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
        if not (number := fields.get("job_id", "")).isdigit():
            raise ProtocolError(f"job_id is {number[:20]!r}: it must be a number")
        asked, job_id, slurm = time.monotonic(), int(number[:18]), self._slurm
        if slurm is None:
            return {"status": "none", "reason": "no Slurm client is installed with the decision service"}
        job = await asyncio.to_thread(slurm.job, job_id, target_of(fields))
        if job is None:
            return {"status": "none", "reason": f"Slurm does not know job {job_id}"}
        job = msgspec.structs.replace(job, node_list=job.node_list or fields.get("node_list", ""))
        try:
            mended = await self._consider(slurm, job, asked)
        except SlurmError as error:
            mended = Mended(f"not requeued: {error}")
            self._complain("requeue", f"job {job.target}: {mended.action}")
        self._history.ended(job, mended)
        return {"status": "ok", "action": mended.action if mended else ""}

    async def next_memory(self, query: PlanQuery) -> int:
        """What a requeued job asks for on each node since its last run failed; 0: as before."""
        runs = await self._history.attempts(query.key.job_id, query.uid)
        return next((one.next_memory for one in reversed(runs) if one.token == query.key.token), 0)

    async def _consider(self, slurm: Slurm, job: SlurmJob, asked: float) -> Mended | None:
        """What is done about a run that has ended; None where its user asked for nothing. `asked`: when Slurm told."""
        request = await self._requests.find(token) if (token := token_of(job.comment)) else None
        if request is None or request.uid != job.uid or not request.retry:
            return None
        how = verdict(job, [])
        if how.cause == "program":  # a step may have run out of memory: its node's agent knows
            how = verdict(job, await self._history.reports(job, REPORT_PATIENCE))
        if how.cause not in _MENDABLE or not how.failed:
            return Mended(_LEFT_ALONE[how.cause]) if how.cause in _LEFT_ALONE else None
        runs = await self._history.attempts(job.job_id, job.uid)
        done = sum(one.retried and one.token == token for one in runs)
        larger = await self._larger(slurm, job, how.cause)
        if why_not := _why_not(job, done, request.retry) or larger.why_not:
            return Mended(f"not requeued: {why_not}")
        # ours add up to the job's memory: they grow with it
        gres = self._gres(request, larger.memory) if larger.memory and GRES_PREFIX in job.gres else ""
        return await self._requeue(slurm, job, larger, gres, f"retry {done + 1} of {request.retry}", asked)

    async def _requeue(self, slurm: Slurm, job: SlurmJob, larger: Mend, gres: str, which: str, asked: float) -> Mended:
        """Have the job run again, with its larger request."""
        doubt, action = "", f"requeued {_with(larger)} ({which})"
        try:
            await asyncio.to_thread(slurm.requeue, job)
            if time.monotonic() > asked + IN_TIME:
                action = f"{action}, {_LATE}"
            await _enlarge(slurm, job, larger, gres)
        except SlurmError as error:
            action, doubt = f"{action}, but not wholly yet: {error}", str(error)
            self._complain("requeue", f"job {job.target}: {action}")
        log.info("job %s: %s", job.target, action)
        self._later(self._see_through(slurm, job, larger, gres, doubt))
        return Mended(action[:512], larger.memory, larger.seconds, retried=True)

    async def _larger(self, slurm: Slurm, job: SlurmJob, cause: Cause) -> Mend:
        capacity = await asyncio.to_thread(slurm.capacity, job.partition)
        memory, seconds = self.likely(job)
        return mend(
            cause,
            job.memory,
            job.time_limit,
            most_memory=capacity.largest(job.nodes, job.cpus) // MIB * MIB,
            most_seconds=capacity.time_limit,
            likely_memory=memory,
            likely_seconds=seconds,
        )

    async def _see_through(self, slurm: Slurm, job: SlurmJob, larger: Mend, gres: str, doubt: str) -> None:
        """Let a requeued job start: Slurm would wait until the credentials of its last start have expired (120 s by
        default), though nodes take newer ones. `doubt`: a command failed before, perhaps after it had its effect; what
        had none is done now, for a job must not stay lost because Slurm was slow."""
        deadline = time.monotonic() + _PENDING_PATIENCE
        while time.monotonic() < deadline:
            await asyncio.sleep(_LOOK)
            with contextlib.suppress(SlurmError):  # asked again
                now = await asyncio.to_thread(slurm.job, job.job_id, job.target)
                if now and now.state == "COMPLETING":
                    continue
                if now and now.restarts > job.restarts:
                    if now.state == "PENDING":
                        if doubt:
                            await _enlarge(slurm, now, larger, gres)
                        await asyncio.to_thread(slurm.update, now, now=True)
                    return
                if not doubt or now is None or now.state == "CANCELLED":
                    break
                await asyncio.to_thread(slurm.requeue, now)  # it is final: its dependents are lost, it is not
        if doubt:
            self._history.amend(job.job_id, job.started, retried=False, action=f"not requeued: {doubt}"[:512])

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _enlarge(slurm: Slurm, job: SlurmJob, larger: Mend, gres: str) -> None:
    """Write a requeued job's larger request. Raises SlurmError."""
    await asyncio.to_thread(slurm.update, job, memory=larger.memory, seconds=larger.seconds)
    if gres:
        await asyncio.to_thread(slurm.update, job, gres=gres)


def _why_not(job: SlurmJob, done: int, allowed: int) -> str:
    """What keeps a job from running again; empty where nothing does."""
    if done >= allowed:
        return f"it has had its {allowed} retries"
    if not job.batch:
        return "only batch jobs can run again by themselves"
    return "" if job.requeue else "it says --no-requeue"


def _with(larger: Mend) -> str:
    if larger.memory:
        return f"with {format_size(larger.memory)} on each node"
    if larger.seconds:
        return f"with a limit of {larger.seconds // 60} min"
    return "as it was"

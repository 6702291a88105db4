"""The jobs of this node: how each begins, is sampled and ends. The journal keeps every step. Their plans: plans.py."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from tierwise import __version__
from tierwise.messages import JobSample, NodeSample, PlanKey
from tierwise.tiers import Tier, TierName
from tierwise_node.cgroups import Cgroups, JobCgroup, Usage
from tierwise_node.events import Events
from tierwise_node.journal import Journal
from tierwise_node.planner import Planner
from tierwise_node.plans import Plans
from tierwise_node.record import MAX_POINTS, SECOND, JobRecord
from tierwise_node.tiers import Topology
from tierwise_policy.placement import agrees

log = logging.getLogger(__name__)
MICROSECOND = 1000
"""Nanoseconds: no agent has an event in each, so the next one's numbers are beyond its own; and JSON holds them."""
GONE = 5.0
"""Seconds after which a job whose cgroup has gone is over, where no epilog will tell."""
LOOK = 5.0
"""Seconds between two looks at all that a job's cgroup says; in between only where its bytes are."""
NO_EPILOG = 3600.0
"""The same where a prolog told of the job: an allocation without a running step has no cgroup, and may wait long."""
SHORTEST = 5.0
"""Seconds that a run lasts at least before a task, whose word it is alone, says that another has begun: each run is a
report, and reports in vast numbers would drive out those of other users."""


class Jobs:
    """Records of all jobs here. `changed` is called when one begins or ends, or gets its plan.

    `after_absence`: no agent listened for a while, so epilogs may have been missed and samples have.
    """

    def __init__(
        self,
        node: str,
        topology: Topology,
        cgroups: Cgroups,
        journal: Journal,
        planner: Planner,
        interval: float,
        after_absence: bool,
    ) -> None:
        self._node, self._topology, self._cgroups = node, topology, cgroups
        self._journal, self._interval = journal, interval
        self._locks: dict[int, asyncio.Lock] = {}
        self._look_again = 0
        self.usages: dict[int, Usage] = {}
        self.groups: dict[int, JobCgroup] = {}
        self.changed: Callable[[], None] = lambda: None
        self.wake: Callable[[], None] = lambda: None
        """Called when pages should move at once."""
        self.events = Events(
            lambda job_id: self.records[job_id].uid if job_id in self.records else 0,
            after=time.time_ns() // MICROSECOND,
        )
        self.records = {record.key.job_id: record for record in journal.records()}
        self.plans = Plans(
            self.records,
            self.usages,
            topology,
            self.tiers,
            journal,
            planner,
            self.events,
            changed=lambda: self.changed(),  # noqa: PLW0108  both are set later
            wake=lambda: self.wake(),  # noqa: PLW0108
        )
        self._taken_over: set[int] = set()
        self._left: set[int] = set()
        """Jobs whose epilog has come, and whose cgroup is still there: what is left in it is no new job."""
        if after_absence:
            self._take_over()

    def _take_over(self) -> None:
        for record in self.records.values():
            record.prologued = False  # its epilog may have come while nobody listened
            self._taken_over.add(record.key.job_id)
            log.info("job %s is taken over", record.key)

    # --- beginning ------------------------------------------------------------------------------------------------

    async def prolog(self, key: PlanKey, uid: int, directive: str, scratch: int = 0) -> JobRecord:
        """A job is about to start here; `scratch` bytes of its memory are to lie on the slowest tier."""
        async with self._lock(key.job_id):
            old = self.records.get(key.job_id)
            if old is not None and key.restart > old.key.restart:
                self._end(old, "gone", old.seen or time.time_ns())
            record = self._record(key, uid)
            record.prologued = True
            record.scratch = {self._topology.order[-1]: scratch} if scratch else {}
            if not record.final:
                await self._make_plan(record, directive, 0)
            return record

    async def task(self, key: PlanKey, uid: int, directive: str, memory: int) -> JobRecord:
        """A task of a job is about to start. The first one makes the plan if nobody did, and may bring the request."""
        async with self._lock(key.job_id):
            old = self.records.get(key.job_id)
            if old is not None and key.restart > old.key.restart and old.tasked and _is_older_than(old, SHORTEST):
                self._end(old, "gone", old.seen or time.time_ns())
            record = self._record(key, uid)
            first_request = record.plan is None and directive and not record.tasked
            if not record.final or first_request:
                record.tasked = True
                await self._make_plan(record, directive or record.directive, memory)
            elif not record.tasked:
                record.tasked = True
                self._journal.save(record)
            return record

    def _record(self, key: PlanKey, uid: int) -> JobRecord:
        """The job's record, made or completed with what is known now."""
        self._left.discard(key.job_id)
        record = self.records.get(key.job_id)
        if record is None:
            record = self.records[key.job_id] = JobRecord(key, uid, time.time_ns())
        token = record.key.token or key.token
        record.key = PlanKey(key.job_id, token, max(key.restart, record.key.restart))
        record.uid = uid
        return record

    async def _make_plan(self, record: JobRecord, directive: str, memory: int) -> None:
        group = self._cgroups.jobs().get(record.key.job_id)
        await self.plans.make(record, directive, memory, (group and group.limit()) or 0)

    # --- sampling -------------------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Sample every job that has a cgroup, and end those that lost theirs."""
        now = time.time_ns()
        self.groups = self._cgroups.jobs()
        self._left &= self.groups.keys()
        last = self.usages.copy()
        self.usages.clear()
        if now > self._look_again:
            self._look_again, last = now + int(LOOK * SECOND), {}
        for job_id in self.groups:
            self._observe(job_id, now, last.get(job_id))
        for record in list(self.records.values()):
            if record.key.job_id not in self.usages and self._is_over(record, now):
                self._end(record, "gone", record.seen or now)
        self._journal.save(*(self.records[job_id] for job_id in self.usages))

    def observe_one(self, job_id: int) -> None:
        """Sample one job now: its cgroup may be gone in a moment."""
        self.groups |= {found: group for found, group in self._cgroups.jobs().items() if found == job_id}
        if job_id in self.groups:
            self._observe(job_id, time.time_ns())

    def _observe(self, job_id: int, now: int, last: Usage | None = None) -> None:
        usage = self.groups[job_id].usage(last)
        if usage is None or job_id in self._left:
            return
        record = self.records.get(job_id)
        if record is None:
            record = self.records[job_id] = JobRecord(
                PlanKey(job_id), 0, now, reason="no prolog or task told of this job"
            )
            self.changed()
        if not record.uid and not record.prologued:
            record.uid = _owner(self.groups[job_id])  # at its very start it has only Slurm's own processes
        self.usages[job_id] = usage
        before = sum(record.found.values())
        record.observe(now, self._topology.per_tier(usage.nodes), usage, gap=job_id in self._taken_over)
        record.watch_pin(self._topology.order[0], before, usage.swapped)
        self._taken_over.discard(job_id)
        if point := record.take_point(now, self._interval):
            self._journal.save(points=((record, point),))
            if record.points >= MAX_POINTS:
                self._journal.thin_out(record)
                record.thin_out()

    def _is_over(self, record: JobRecord, now: int) -> bool:
        patience = NO_EPILOG if record.prologued else GONE
        return now - max(record.seen, record.started) > patience * SECOND

    # --- ending ---------------------------------------------------------------------------------------------------

    async def end(self, job_id: int) -> None:
        """The epilog: the plan has ended, the report is queued. A plan that is still being made ends, too."""
        async with self._lock(job_id):
            if record := self.records.get(job_id):
                self.observe_one(job_id)
                self._end(record, "epilog", time.time_ns())
        self._forget_lock(job_id)

    def _end(self, record: JobRecord, how: str, ended: int) -> None:
        job_id = record.key.job_id
        self._journal.end(record, record.report(self._node, ended, how, self._journal.curve(record)))
        del self.records[job_id]
        if how == "epilog" and job_id in self.groups:
            self._left.add(job_id)
        self.plans.give_back()
        self.usages.pop(job_id, None)
        self._taken_over.discard(job_id)
        self._forget_lock(job_id)
        self.changed()

    # --- telling --------------------------------------------------------------------------------------------------

    def tiers(self) -> tuple[Tier, ...]:
        """The node's tiers now."""
        held: dict[TierName, int] = {}
        for record in self.records.values():
            for tier, size in record.found.items():
                held[tier] = held.get(tier, 0) + size
        return self._topology.tiers(held)

    def sample(self, record: JobRecord) -> JobSample:
        """One job beside its plan."""
        return record.sample(agrees(record.plan, record.own, self._topology.order))

    def node_sample(self, uid: int = 0) -> NodeSample:
        """The node now, with the jobs that `uid` may see: root all, others their own."""
        jobs = tuple(self.sample(record) for record in self.records.values() if uid in (0, record.uid))
        return NodeSample(self._node, time.time_ns(), __version__, self.tiers(), jobs)

    def _lock(self, job_id: int) -> asyncio.Lock:
        return self._locks.setdefault(job_id, asyncio.Lock())

    def _forget_lock(self, job_id: int) -> None:
        if job_id in self._locks and not self._locks[job_id].locked():
            del self._locks[job_id]


def _is_older_than(record: JobRecord, seconds: float) -> bool:
    return time.time_ns() - record.started > seconds * SECOND


def _owner(group: JobCgroup) -> int:
    """The uid of a job that nobody told us about: its processes', besides Slurm's own."""
    for pid in group.pids():
        with contextlib.suppress(OSError):
            if uid := Path(f"/proc/{pid}").stat().st_uid:
                return uid
    return 0

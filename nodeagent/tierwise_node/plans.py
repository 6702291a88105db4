"""The plans of this node's jobs: made when a job starts, changed as it grows and as others come and go.

A job's life is in jobs.py; which plan is the right one is said by planner.py and revisions.py.
"""

from collections.abc import Callable, Mapping

import msgspec

from tierwise.plans import Plan
from tierwise.tiers import Tier, TierName
from tierwise.units import format_size
from tierwise_node.cgroups import Usage
from tierwise_node.events import Events
from tierwise_node.journal import Journal
from tierwise_node.planner import Planner, evictable
from tierwise_node.record import JobRecord
from tierwise_node.revisions import beyond_shares, given_up, grown, held_by_unplanned, improved, outgrown
from tierwise_node.tiers import Topology
from tierwise_policy.replacement import make_room


class Plans:
    """Makes and changes the plans in `records`, all jobs here, of which `usages` says what those with a cgroup use.

    `tiers` says what this node's tiers hold now. `changed` is called when a job gets another
    plan, `wake` when pages should move at once for it.
    """

    def __init__(
        self,
        records: Mapping[int, JobRecord],
        usages: Mapping[int, Usage],
        topology: Topology,
        tiers: Callable[[], tuple[Tier, ...]],
        journal: Journal,
        planner: Planner,
        events: Events,
        changed: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._records, self._usages, self._topology, self._tiers = records, usages, topology, tiers
        self._journal, self._planner, self._events = journal, planner, events
        self._changed, self._wake = changed, wake
        self._gave_back = False

    async def make(self, record: JobRecord, directive: str, memory: int, limit: int) -> None:
        """The plan of a job that starts. `memory`: what a task says it has, `limit`: its cgroup's; 0: not known."""
        job_id = record.key.job_id
        scratch = sum(record.scratch.values())
        if limit:  # a task may be anything that runs as the user: its word reserves no more than its job can use
            memory = min(memory, limit)
        whole = memory or (0 if record.memory else limit)
        memory = max(whole - scratch, 1) if whole else record.memory
        tiers = self._tiers()
        if record.tasked and not memory:
            memory = sum(tier.capacity for tier in tiers)
        room = evictable(tiers, self._records.values(), self._usages, but=job_id)
        more, peers = self._given_up(job_id, directive, memory, tiers, room)
        answer = await self._planner.plan(record.key, record.uid, directive, memory, tiers, room, more, scratch)
        record.directive = answer.directive or directive
        record.memory = answer.memory or memory
        record.plan = answer.plan and msgspec.structs.replace(answer.plan, granted=record.scratch)
        record.reason = answer.reason
        record.final = record.tasked or answer.plan is not None or answer.memory > 0 or not directive
        self._journal.save(record)
        if record.plan is not None:
            self._make_way(job_id, record.plan, room, peers)
        self._changed()

    def _given_up(
        self, job_id: int, directive: str, memory: int, tiers: tuple[Tier, ...], room: dict[TierName, int]
    ) -> tuple[dict[TierName, int], dict[int, int]]:
        """What others would give up per tier, beyond `room`, for a LAT or SHL part of a job; and, of that, what LAT and
        SHL parts would give up of the fastest tier, by job."""
        others = [other for other in self._records.values() if other.key.job_id != job_id]
        without = evictable(tiers, [other for other in others if not other.movable or other.plan], self._usages, but=0)
        more = {name: given_up(others, name) + without[name] - room[name] for name in self._topology.order[:-1]}
        peers: dict[int, int] = {}
        if more:
            fastest = self._topology.order[0]
            peers = beyond_shares(others, fastest, directive, memory, room[fastest] + more[fastest])
            more[fastest] += sum(peers.values())
        return more, peers

    def _make_way(self, job_id: int, plan: Plan, room: dict[TierName, int], peers: Mapping[int, int]) -> None:
        """Other jobs' plans give up what this one takes beyond `room`; the next beat moves their pages. `peers`: what
        LAT and SHL parts give up of the fastest tier."""
        others = {other: record for other, record in self._records.items() if other != job_id}
        left = {name: free - plan.tiers.get(name, 0) for name, free in room.items()}
        for name in self._topology.order[:-1]:
            needed = -left[name] - held_by_unplanned(others.values(), name)
            plans = {other: record.plan for other, record in others.items() if record.plan is not None}
            alike = peers if name == self._topology.order[0] else {}
            for other, changed in make_room(plans, name, needed, left, self._topology.order, alike).items():
                self._revise(others[other], changed, f"makes way for job {job_id}")
                for tier in left:
                    left[tier] -= changed.tiers.get(tier, 0) - plans[other].tiers.get(tier, 0)
        if min(room[name] - plan.tiers.get(name, 0) for name in room) < 0:
            self._wake()

    def give_back(self) -> None:
        """A job has ended: what it had is for those who wait for more."""
        self._gave_back = True

    def revise(self) -> None:
        """Plans that follow their jobs: more for one that has grown, and what ended jobs gave back for the others."""
        gave_back, self._gave_back = self._gave_back, False
        for record in list(self._records.values()):
            waits = gave_back and record.plan is not None and record.plan.degraded
            if record.key.job_id not in self._usages or not (waits or outgrown(record)):
                continue
            tiers = self._tiers()
            room = evictable(tiers, self._records.values(), self._usages, but=record.key.job_id)
            limit = self._usages[record.key.job_id].limit
            if plan := grown(record, limit, tiers, room, self._planner.pin_share):
                self._revise(record, plan, f"grew to {format_size(sum(record.found.values()))}")
            elif waits and (plan := improved(record, tiers, room, self._planner.pin_share)):
                self._revise(record, plan, "another job gave back")

    def _revise(self, record: JobRecord, plan: Plan, why: str) -> None:
        record.plan = plan
        record.memory = max(record.memory, plan.size)
        self._journal.save(record)
        self._events.tell("plan changed", record.key.job_id, why)
        self._changed()

    def degrade(self, record: JobRecord, reason: str) -> None:
        """Say in a job's plan, once, why it is not what was asked."""
        if record.plan is not None and reason not in record.plan.degraded:
            record.plan = msgspec.structs.replace(record.plan, degraded=(*record.plan.degraded, reason))
            self._journal.save(record)

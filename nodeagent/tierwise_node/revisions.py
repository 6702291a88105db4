"""How plans change after they were made: a job grows, a job ends and gives back, a job makes way for another one.

All by the same policy code that made them (TierAlloc, Algorithm 7; replacement, Algorithm 8).
"""

from collections.abc import Iterable, Mapping, Sequence

from tierwise.directive import parse_directive
from tierwise.errors import DirectiveError
from tierwise.plans import Plan
from tierwise.tiers import Tier, TierName
from tierwise.units import MIB
from tierwise_node.record import JobRecord
from tierwise_policy.allocation import TierRoom, allocate, misplaced
from tierwise_policy.replacement import TAKES_ROOM, beyond_share, displaceable
from tierwise_policy.sizes import SizedClass, resolve

AHEAD = 0.25
"""A job that outgrows its plan gets so much more than it has, so that it doesn't ask again at once."""


def outgrown(record: JobRecord) -> bool:
    """Whether a job uses more than its plan knows of."""
    return record.plan is not None and sum(record.found.values()) > record.plan.size + MIB


def grown(
    record: JobRecord, limit: int | None, tiers: Sequence[Tier], room: Mapping[TierName, int], pin_share: float
) -> Plan | None:
    """The plan of a job that uses more than its plan knows of; None where it does not, or may not.

    `room`: what is evictable for others; `limit`: the job's memory limit.
    """
    plan, used = record.plan, sum(record.found.values())
    if plan is None or not outgrown(record):
        return None
    memory = min(int(used * (1 + AHEAD)), limit or used * 2)
    classes = _classes(record.directive, memory)
    if memory <= plan.size or not classes:
        return None
    own = {tier: max(size - record.found.get(tier, 0), 0) for tier, size in plan.tiers.items()}
    rooms = _rooms(tiers, {name: free - own.get(name, 0) for name, free in room.items()})
    return allocate(classes, rooms, held=plan, pin_share=pin_share)


def improved(record: JobRecord, tiers: Sequence[Tier], room: Mapping[TierName, int], pin_share: float) -> Plan | None:
    """A plan nearer to what was asked, now that there is more room; None where there is none."""
    plan = record.plan
    if plan is None or not plan.degraded:
        return None
    classes = _classes(record.directive, plan.size)
    rooms = _rooms(tiers, {name: max(free, 0) + _still_to_come(record, plan, name) for name, free in room.items()})
    if not classes or sum(part.size for part in classes) != plan.size or not misplaced(plan, rooms):
        return None
    better = allocate(classes, rooms, pin_share=pin_share)
    gained = misplaced(plan, rooms) - misplaced(better, rooms)
    return better if gained > max(MIB, plan.size // 100) else None


def given_up(others: Iterable[JobRecord], tier: TierName) -> int:
    """Bytes of a tier that the other jobs have, or may come to have, and would give up for a LAT or SHL part."""
    others = list(others)
    plans = {record.key.job_id: record.plan for record in others if record.plan is not None}
    return displaceable(plans, tier) + held_by_unplanned(others, tier)


def held_by_unplanned(records: Iterable[JobRecord], tier: TierName) -> int:
    """Bytes of a tier that jobs without a plan hold, and that we may move."""
    return sum(record.found.get(tier, 0) for record in records if record.plan is None and record.movable)


def beyond_shares(
    others: Iterable[JobRecord], tier: TierName, directive: str, memory: int, idle: int
) -> dict[int, int]:
    """What the other jobs' LAT and SHL parts have of a tier beyond their share, now that one with this directive
    comes; `idle` is what it can have without them."""
    plans = {record.key.job_id: record.plan for record in others if record.plan is not None}
    wanted = sum(part.size for part in _classes(directive, memory) if part.memory_class in TAKES_ROOM)
    return beyond_share(plans, tier, wanted, idle) if wanted else {}


def _still_to_come(record: JobRecord, plan: Plan, tier: TierName) -> int:
    """What a job may have of a tier besides what is evictable for others: what it holds there."""
    return max(record.found.get(tier, 0), plan.tiers.get(tier, 0))


def _classes(directive: str, memory: int) -> tuple[SizedClass, ...]:
    try:
        request = parse_directive(directive)
    except DirectiveError:
        return ()
    return resolve(request, memory, explicit=False) if request.mode == "classes" else ()


def _rooms(tiers: Sequence[Tier], room: Mapping[TierName, int]) -> list[TierRoom]:
    return [
        TierRoom(tier.name, max(room.get(tier.name, 0), 0), tier.bandwidth, max(room.get(tier.name, 0), 0))
        for tier in tiers
    ]

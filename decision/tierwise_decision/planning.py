"""What a job gets: at its submission by the capacity of the nodes that we know, at its start by what is evictable."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tierwise.directive import Request
from tierwise.messages import DryRunPlan, JobSample
from tierwise.plans import Plan
from tierwise.tiers import GRES_PREFIX, Tier, TierName
from tierwise.units import MIB, format_size, mib_ceil
from tierwise_decision.known import Shape
from tierwise_policy.allocation import TierRoom, allocate
from tierwise_policy.reasons import explain
from tierwise_policy.sizes import resolve

NO_HISTORY = "no history yet: the kernel places it"
NOTHING_STANDS_OUT = "its history shows no part that is hotter than the rest: the kernel places it"
SWITCHED_OFF = "off: the kernel places it"
BY_PREDICTION = "placed by prediction"
"""How the first notice begins of a job whose classes history told."""


class Outlook(msgspec.Struct, frozen=True):
    """What a submission can expect: GRES of its plan on the best shape, and what its user should know."""

    gres: str = ""
    notices: tuple[str, ...] = ()


def outlook(
    request: Request, memory: int, *, explicit: bool, whole_node: bool, shapes: Iterable[Shape], pin_share: float
) -> Outlook:
    """Plan a submission on every shape and take the least degraded plan: least unplaced, then least on a wrong tier;
    of equal ones that of the shape with more tiers, then of more nodes, then by its tiers: the same cluster always
    gives the same answer.

    Raises RequestTooLargeError where `explicit` and the classes add up to more than `memory`.
    """
    sized = resolve(request, memory, explicit=explicit)
    notices = () if whole_node else _about_sizes(request, memory)
    shapes = list(shapes)
    slowest = max((shape.tiers[-1] for shape in shapes), key=lambda tier: tier.latency_ns, default=None)
    best: tuple[tuple[object, ...], Plan, Shape] | None = None
    for shape in shapes:
        classes = resolve(request, shape.capacity, explicit=False) if whole_node and not memory else sized
        plan = allocate(classes, _empty_rooms(shape), pin_share=pin_share)
        wrong = _misplaced(plan, shape.tiers[0].name, slowest.name if slowest else "")
        order = (plan.unplaced, wrong, len(plan.degraded), -len(shape.tiers), -shape.nodes, _figures(shape))
        if best is None or order < best[0]:
            best = (order, plan, shape)
    if best is None:
        return Outlook(notices=(*notices, "no node has reported its tiers yet: planned when the job starts"))
    _, plan, shape = best
    return Outlook(_gres(plan, shape), (*notices, *(f"degraded: {why}" for why in plan.degraded)))


def final_plan(
    request: Request,
    memory: int,
    tiers: Sequence[Tier],
    evictable: Mapping[TierName, int],
    displaceable: Mapping[TierName, int],
    pin_share: float,
) -> Plan:
    """The plan on a node as its agent sees it now. Sizes beyond `memory` are clipped: nobody is refused any more."""
    rooms = []
    for tier in sorted(tiers, key=lambda tier: tier.rank):
        room = min(evictable.get(tier.name, 0), tier.capacity)
        more = min(displaceable.get(tier.name, 0), tier.capacity - room)
        rooms.append(TierRoom(tier.name, room, tier.bandwidth, room + more, more))
    return allocate(resolve(request, memory, explicit=False), rooms, pin_share=pin_share)


def dry_run(
    node: str, request: Request, memory: int, tiers: Sequence[Tier], jobs: Iterable[JobSample], pin_share: float
) -> DryRunPlan:
    """What a job would get on a node now: what is free, less what running plans may still grow into."""
    free = {tier.name: tier.free for tier in tiers}
    for job in jobs:
        for tier, size in (job.plan.tiers if job.plan else {}).items():
            free[tier] = free.get(tier, 0) - max(size - job.found.get(tier, 0), 0)
    rooms = [
        TierRoom(tier.name, room := max(free[tier.name], 0), tier.bandwidth, room)
        for tier in sorted(tiers, key=lambda tier: tier.rank)
    ]
    if request.mode != "classes":
        return DryRunPlan(node, None, (SWITCHED_OFF if request.mode == "off" else NO_HISTORY,))
    plan = allocate(resolve(request, memory, explicit=False), rooms, pin_share=pin_share)
    return DryRunPlan(node, plan, (*_about_sizes(request, memory), *explain(plan, rooms))[:32])


def _empty_rooms(shape: Shape) -> list[TierRoom]:
    """The tiers of a node without jobs, in whole MiB, as GRES count them."""
    sizes = [(tier, tier.capacity // MIB * MIB) for tier in shape.tiers]
    return [TierRoom(tier.name, size, tier.bandwidth, size) for tier, size in sizes]


def _about_sizes(request: Request, memory: int) -> tuple[str, ...]:
    named = sum(part.size or 0 for part in request.classes)
    if not memory:
        if all(part.size is not None for part in request.classes):
            return ()
        return ("the job's memory is not known here: percentages and the rest are planned when the job starts",)
    percent = sum(memory * part.percent // 100 for part in request.classes if part.percent is not None)
    if named + percent > memory:
        return (
            f"the classes add up to {format_size(named + percent)}, the job has {format_size(memory)} on each node: "
            "clipped (set --mem)",
        )
    return ()


def _misplaced(plan: Plan, fastest: TierName, slowest: TierName) -> int:
    """Bytes of LAT and SHL beside the node's fastest tier, and of CAP beside the slowest tier of any node: on a node
    with DRAM alone a CAP plan is whole, but what CAP wants is elsewhere."""
    own = {"LAT": fastest, "SHL": fastest, "CAP": slowest}
    parts = [(part, own[part.memory_class]) for part in plan.parts if part.memory_class in own]
    return sum(size for part, right in parts for tier, size in part.tiers.items() if tier != right)


def _gres(plan: Plan, shape: Shape) -> str:
    """`tier_dram:300,tier_cxl:36`: MiB that add up to the plan rounded up, and never more than the shape has."""
    room = {tier.name: tier.capacity // MIB for tier in shape.tiers}
    counts: dict[TierName, int] = {}
    planned = taken = 0
    for tier, size in plan.tiers.items():
        planned += size
        counts[tier] = min(mib_ceil(planned) - taken, room[tier])
        taken += counts[tier]
    for tier, most in room.items():
        more = min(mib_ceil(planned) - taken, most - counts.get(tier, 0))
        counts[tier] = counts.get(tier, 0) + more
        taken += more
    return ",".join(f"{GRES_PREFIX}{tier}:{counts[tier]}" for tier in room if counts[tier])


def _figures(shape: Shape) -> tuple[tuple[str, int, int], ...]:
    return tuple((tier.name, tier.capacity, tier.bandwidth) for tier in shape.tiers)

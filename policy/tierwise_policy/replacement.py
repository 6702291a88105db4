"""Who gives way on a tier that is short: Algorithm 8 of chapter 8, and what plans give up for other plans.

Where we deviate from the printed algorithm: a class is a claim and temperature the evidence, so the order is coldness
times the class's weight; victims go to the next slower tier with room; what can't be freed is said, never waited for.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from tierwise.directive import MemoryClass
from tierwise.plans import Part, Plan
from tierwise.tiers import TierName
from tierwise.units import format_size
from tierwise_policy.heat import Ranges

Bytes = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)

WEIGHTS: dict[MemoryClass | None, float] = {"CAP": 8.0, None: 4.0, "BW": 2.0, "SHL": 1.0, "LAT": 1.0}
"""How readily a class gives way: LAT and SHL at equal coldness last, but before a BW part that is in use."""
SETTLES = 10.0
"""Seconds of idleness after which memory counts as half as cold as it can be: a pause is not the end of a phase."""
GIVES_WAY: tuple[MemoryClass | None, ...] = ("CAP", None, "BW")
"""Classes whose plans give room up for a LAT or SHL part of another job, in this order."""
TAKES_ROOM: tuple[MemoryClass | None, ...] = ("LAT", "SHL")


@dataclass(frozen=True, eq=False)
class Freed:
    """What `victims` chose: `taken` bytes of each candidate, `size` in sum (it may be less than was asked for)."""

    taken: Bytes
    size: int


def coldness(ranges: Ranges) -> Scores:
    """How cold each range is, 0 to 1: not accessed, and that for long (`age`, see SETTLES)."""
    heat, age = np.asarray(ranges["heat"], np.float64), np.asarray(ranges["age"], np.float64)
    idle = np.where(heat > 0, 0.5, 0.5 + 0.5 * age / (age + SETTLES))
    cold: Scores = np.clip(1.0 - heat, 0.0, 1.0) * idle
    return cold


def victims(needed: int, scores: Scores, sizes: Bytes) -> Freed:
    """Choose candidates that free `needed` bytes, the highest score first (Algorithm 8).

    `sizes` are the bytes that each candidate has on the tier and may lose: the caller leaves pinned bytes out.
    """
    order = np.argsort(-scores, kind="stable")
    passed = np.cumsum(sizes[order])
    taken = np.zeros_like(sizes)
    taken[order] = np.clip(max(needed, 0) - (passed - sizes[order]), 0, sizes[order])
    return Freed(taken, int(taken.sum()))


def share(capacity: int, claims: Mapping[Name, int]) -> dict[Name, int]:
    """`capacity` bytes in proportion to the claims, nobody more than claimed, and with room for all nobody less."""
    left, total = max(capacity, 0), sum(claims.values())
    given: dict[Name, int] = {}
    for name, claim in claims.items():
        given[name] = min(claim, left * claim // total) if total else 0
        left -= given[name]
        total -= claim
    return given


# --- between plans --------------------------------------------------------------------------------------------------


def displaceable(plans: Mapping[int, Plan], tier: TierName) -> int:
    """Bytes of `tier` that plans would give up for another job's LAT or SHL part: nothing pinned."""
    return sum(
        _pageable(part, tier) for plan in plans.values() for part in plan.parts if part.memory_class in GIVES_WAY
    )


def beyond_share(plans: Mapping[int, Plan], tier: TierName, wanted: int, idle: int) -> dict[int, int]:
    """What each plan's LAT and SHL parts have of a tier beyond their share of it, nothing pinned, once another job
    wants `wanted` bytes for such parts: `idle` bytes and theirs are shared in proportion to the parts' sizes."""
    of = {job_id: [part for part in plan.parts if part.memory_class in TAKES_ROOM] for job_id, plan in plans.items()}
    have = {job_id: sum(part.tiers.get(tier, 0) for part in parts) for job_id, parts in of.items()}
    pageable = {job_id: sum(_pageable(part, tier) for part in parts) for job_id, parts in of.items()}
    newcomer = min(plans, default=0) - 1
    claims = {job_id: sum(part.size for part in parts) for job_id, parts in of.items()} | {newcomer: wanted}
    its = share(idle + sum(have.values()), claims)
    return {job_id: min(max(size - its[job_id], 0), pageable[job_id]) for job_id, size in have.items()}


def make_room(
    plans: Mapping[int, Plan],
    tier: TierName,
    needed: int,
    rooms: Mapping[TierName, int],
    order: Sequence[TierName],
    peers: Mapping[int, int],
) -> dict[int, Plan]:
    """The plans that change when `needed` bytes of `tier` are given up for another job.

    CAP gives first, then memory without a class, then BW; within a class in proportion to what each has there. Then
    LAT and SHL parts, as much as `peers` says of each job (beyond_share). It goes to the next slower tiers with room
    (`rooms`, bytes; `order`: fastest first), and only as far as there is some.
    """
    changed: dict[int, Plan] = {}
    slower = order[order.index(tier) + 1 :]
    left = {name: max(rooms.get(name, 0), 0) for name in slower}
    owed = {job_id: peers.get(job_id, 0) for job_id in plans}
    for memory_class in (*GIVES_WAY, *TAKES_ROOM):
        offers = {
            job_id: sum(_pageable(part, tier) for part in plan.parts if part.memory_class == memory_class)
            for job_id, plan in plans.items()
        }
        if memory_class in TAKES_ROOM:
            offers = {job_id: min(size, owed[job_id]) for job_id, size in offers.items()}
        for job_id, size in share(min(needed, sum(left.values())), offers).items():
            if size:
                changed[job_id] = _give_up(changed.get(job_id, plans[job_id]), memory_class, tier, size, left)
                needed -= size
                owed[job_id] -= size if memory_class in TAKES_ROOM else 0
    return changed


def _pageable(part: Part, tier: TierName) -> int:
    return max(part.tiers.get(tier, 0) - part.pinned, 0)


def _give_up(
    plan: Plan, memory_class: MemoryClass | None, tier: TierName, size: int, left: dict[TierName, int]
) -> Plan:
    parts = tuple(
        _moved_down(part, tier, size, left) if part.memory_class == memory_class else part for part in plan.parts
    )
    name = memory_class or "memory without a class"
    why = f"{name}: {format_size(size)} gave way on {tier} to a job that needs it more"
    kept = tuple(said for said in plan.degraded if not (said.startswith(f"{name}: ") and "gave way" in said))
    return msgspec.structs.replace(plan, parts=parts, degraded=(*kept, why))


def _moved_down(part: Part, tier: TierName, size: int, left: dict[TierName, int]) -> Part:
    tiers = {**part.tiers, tier: part.tiers[tier] - size}
    for name, room in left.items():
        more = min(size, room)
        tiers[name] = tiers.get(name, 0) + more
        left[name] -= more
        size -= more
    return msgspec.structs.replace(part, tiers={name: held for name, held in tiers.items() if held})

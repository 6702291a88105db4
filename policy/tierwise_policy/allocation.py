"""TierAlloc: how a job's memory is spread over a node's tiers (chapter 8, Algorithm 7).

Where we deviate from the printed algorithm: BW carries what a tier can't hold forward and then back (printed: the
wrong sign, and no end when every tier is full); the slowest tier is finite; what fits nowhere is `unplaced`; what is
evictable is counted down part by part.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tierwise.directive import MemoryClass
from tierwise.plans import MemoryPolicy, Part, Plan
from tierwise.tiers import TierName
from tierwise.units import format_size
from tierwise_policy.sizes import PRIORITY, SizedClass

DEGRADED_SHARE = 0.05
"""A BW part that is off its bandwidth's share by more than this, of its size, is said to be degraded."""


class TierRoom(msgspec.Struct, frozen=True):
    """What a tier can give: `evictable` bytes (free, or what may be pushed down); `bandwidth` in bytes per second.

    `pinnable` is what can be pinned without touching other jobs' pinned parts. `displaceable` is what other plans
    give up beyond that, for LAT and SHL parts only (replacement.make_room).
    """

    name: TierName
    evictable: int
    bandwidth: int
    pinnable: int
    displaceable: int = 0


def allocate(
    classes: Iterable[SizedClass], rooms: Sequence[TierRoom], held: Plan | None = None, pin_share: float = 0.5
) -> Plan:
    """The plan for `classes` on a node whose tiers, fastest first, are `rooms`.

    A job that grows passes its new sizes and the plan that it holds: what it has stays where it is, and only the
    difference is allocated (`rooms` does not count what it holds). A class that shrinks is allocated anew.
    sum of the parts' sizes == sum of `classes`, and each part's tiers and unplaced add up to its size.
    """
    room = {tier.name: max(tier.evictable, 0) for tier in rooms}
    before = {part.memory_class: part for part in held.parts} if held else {}
    sizes = {wanted.memory_class: wanted.size for wanted in classes if wanted.size > 0}
    for name, part in list(before.items()):
        if part.size > sizes.get(name, 0):
            for tier, size in part.tiers.items():
                room[tier] = room.get(tier, 0) + size
            del before[name]
    parts: list[Part] = []
    pinnable = rooms[0].pinnable if rooms else 0
    for each in rooms:
        room[each.name] += each.displaceable
    for name in PRIORITY:
        if name == "BW":  # what LAT and SHL did not need stays with who has it
            room |= {each.name: max(room[each.name] - each.displaceable, 0) for each in rooms}
        if name in sizes:
            parts.append(_part(name, sizes[name], rooms, room, before.get(name), pinnable, pin_share))
            pinnable -= parts[-1].pinned
    return Plan(tuple(parts), initial_policy(parts, rooms), tuple(_degradations(parts, rooms)))


def fill_order(memory_class: MemoryClass | None, tiers: Sequence[TierName]) -> Sequence[TierName]:
    """In which order a class fills tiers (given fastest first): CAP from the slowest, all others from the fastest."""
    return tiers[::-1] if memory_class == "CAP" else tiers


def bandwidth_shares(size: int, rooms: Sequence[TierRoom]) -> dict[TierName, int]:
    """`size` bytes split in proportion to the tiers' bandwidths; the shares add up to `size` exactly."""
    total = sum(tier.bandwidth for tier in rooms)
    weights = [tier.bandwidth for tier in rooms] if total else [1] * len(rooms)
    shares: dict[TierName, int] = {}
    passed = given = 0
    for tier, weight in zip(rooms, weights, strict=True):
        passed += weight
        shares[tier.name] = size * passed // sum(weights) - given
        given += shares[tier.name]
    return shares


def initial_policy(parts: Sequence[Part], rooms: Sequence[TierRoom]) -> MemoryPolicy:
    """The policy that tasks start with. A mixed plan starts on its fastest tier and the agent demotes the excess."""
    used = [tier.name for tier in rooms if any(part.tiers.get(tier.name) for part in parts)]
    if not used:
        return MemoryPolicy()
    kinds = {part.memory_class for part in parts}
    if kinds == {"BW"}:
        return MemoryPolicy("weighted_interleave", tuple(used))
    if kinds == {"CAP"}:
        return MemoryPolicy("preferred_many", (used[-1],))
    return MemoryPolicy("preferred_many", (used[0],), numa_balancing=kinds <= {"LAT", "SHL"})


def _part(
    name: MemoryClass | None,
    size: int,
    rooms: Sequence[TierRoom],
    room: dict[TierName, int],
    held: Part | None,
    pinnable: int,
    pin_share: float,
) -> Part:
    placed = dict(held.tiers) if held else {}
    wanted = size - sum(placed.values())
    taken = _spread(wanted, rooms, room) if name == "BW" else {}
    wanted -= sum(taken.values())
    for tier in fill_order(name, [tier.name for tier in rooms]):
        more = min(wanted, room[tier])
        room[tier] -= more
        wanted -= more
        taken[tier] = taken.get(tier, 0) + more
    for tier, more in taken.items():
        if more:
            placed[tier] = placed.get(tier, 0) + more
    pinned = held.pinned if held else 0
    if name == "LAT" and rooms:
        pinned = max(pinned, min(int(size * pin_share), placed.get(rooms[0].name, 0), pinned + max(pinnable, 0)))
    return Part(name, size, placed, pinned=pinned, unplaced=wanted)


def _spread(wanted: int, rooms: Sequence[TierRoom], room: dict[TierName, int]) -> dict[TierName, int]:
    """Bandwidth-proportional shares, what a tier can't hold carried to the next; counts `room` down."""
    taken: dict[TierName, int] = {}
    carried = 0
    for tier, share in bandwidth_shares(wanted, rooms).items():
        taken[tier] = min(share + carried, room[tier])
        carried += share - taken[tier]
        room[tier] -= taken[tier]
    return taken


def _degradations(parts: Sequence[Part], rooms: Sequence[TierRoom]) -> Iterable[str]:
    for part in parts:
        label = part.memory_class or "memory without a class"
        for tier, size in _misplaced(part, rooms).items():
            yield f"{label}: {format_size(size)} of {format_size(part.size)} on {tier}, its own tier has no more room"
        if part.unplaced:
            yield f"{label}: {format_size(part.unplaced)} of {format_size(part.size)} fit on no tier"


def misplaced(plan: Plan, rooms: Sequence[TierRoom]) -> int:
    """Bytes of a plan that are not on their class's own tier, or on none: how far it is from what was asked."""
    return plan.unplaced + sum(sum(_misplaced(part, rooms).values()) for part in plan.parts)


def _misplaced(part: Part, rooms: Sequence[TierRoom]) -> Mapping[TierName, int]:
    """Bytes on tiers other than the class's own; for BW, beyond the tier's share by more than DEGRADED_SHARE."""
    if part.memory_class is None:
        return {}
    if part.memory_class == "BW":
        shares = bandwidth_shares(part.size, rooms)
        excess = {tier: size - shares.get(tier, 0) for tier, size in part.tiers.items()}
        return {tier: size for tier, size in excess.items() if size > part.size * DEGRADED_SHARE}
    own = fill_order(part.memory_class, [tier.name for tier in rooms])[0]
    return {tier: size for tier, size in part.tiers.items() if tier != own}

"""A plan beside what the pages say: where the bytes of a job should be now, whether they are, and what to move.

A plan speaks of the memory that the job may use; what it uses now is less. So the parts are filled in their order,
each as far as the job has got: the promise of DESIGN (life of a job 5) for the bytes that exist.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tierwise.plans import Part, Plan
from tierwise.tiers import TierName
from tierwise.units import MIB
from tierwise_policy.allocation import fill_order

TOLERANCE = 0.05
"""The promise: bytes per tier within 5 %."""
SMALLEST = MIB
"""Below this, what a job uses is its shell and its libraries: there is nothing to compare yet."""


class Correction(msgspec.Struct, frozen=True):
    """Move `size` bytes of a job from tier `source` to tier `target`."""

    source: TierName
    target: TierName
    size: int


def targets(plan: Plan, found: Mapping[TierName, int], order: Sequence[TierName]) -> dict[TierName, int]:
    """Bytes per tier that a job with `found` bytes should have; adds up to what was found. `order`: fastest first.

    What its programs were granted is taken to be where it was granted. What the job uses beyond its plan is left where
    it is, on the tiers that have most of it.
    """
    wanted = {tier: min(plan.granted.get(tier, 0), found.get(tier, 0)) for tier in order}
    for _, filled in parts_due(plan, found, order):
        for tier, size in filled.items():
            wanted[tier] = wanted.get(tier, 0) + size
    left = sum(found.values()) - sum(wanted.values())
    for tier in sorted(order, key=lambda name: wanted[name] - found.get(name, 0)):
        stays = min(left, max(found.get(tier, 0) - wanted[tier], 0))
        wanted[tier] += stays
        left -= stays
    return wanted


def parts_due(
    plan: Plan, found: Mapping[TierName, int], order: Sequence[TierName]
) -> list[tuple[Part, dict[TierName, int]]]:
    """Bytes per tier that each part of a plan should have of what was found and was not granted."""
    left = sum(found.values()) - sum(min(plan.granted.get(tier, 0), found.get(tier, 0)) for tier in order)
    due: list[tuple[Part, dict[TierName, int]]] = []
    for part in plan.parts:
        filled = _filled(part, min(left, part.size - part.unplaced), order)
        left -= sum(filled.values())
        due.append((part, filled))
    return due


def agrees(plan: Plan | None, found: Mapping[TierName, int], order: Sequence[TierName]) -> bool | None:
    """Whether every tier holds what it should, within TOLERANCE; None when there is nothing to compare.

    One class: of all bytes found (so 95 % on its tier; BW within 5 points of each share). Several: of each tier's own
    target, so that a small part is not lost in a large one.
    """
    if plan is None or not plan.parts or sum(found.values()) < SMALLEST:
        return None
    wanted = targets(plan, found, order)
    slack = _slack(plan, found, wanted)
    return all(abs(found.get(tier, 0) - wanted[tier]) <= slack[tier] for tier in order)


def corrections(plan: Plan, found: Mapping[TierName, int], order: Sequence[TierName]) -> tuple[Correction, ...]:
    """What to move so that the job's bytes are where the plan says; empty while it is within half the tolerance."""
    if sum(found.values()) < SMALLEST:
        return ()
    wanted = targets(plan, found, order)
    slack = _slack(plan, found, wanted)
    over = {tier: found.get(tier, 0) - wanted[tier] for tier in order}
    if all(abs(over[tier]) <= slack[tier] / 2 for tier in order):
        return ()
    moves: list[Correction] = []
    for source in order:
        for target in order[::-1]:
            size = min(over[source], -over[target])
            if size > 0:
                moves.append(Correction(source, target, size))
                over[source] -= size
                over[target] += size
    return tuple(moves)


def _filled(part: Part, used: int, order: Sequence[TierName]) -> dict[TierName, int]:
    placed = part.size - part.unplaced
    filled: dict[TierName, int] = {}
    if part.memory_class == "BW":
        given = passed = 0
        for tier in order:
            passed += part.tiers.get(tier, 0)
            filled[tier] = used * passed // placed - given if placed else 0
            given += filled[tier]
        return filled
    for tier in fill_order(part.memory_class, order):
        filled[tier] = min(used, part.tiers.get(tier, 0))
        used -= filled[tier]
    return filled


def _slack(plan: Plan, found: Mapping[TierName, int], wanted: Mapping[TierName, int]) -> dict[TierName, float]:
    total = sum(found.values()) * TOLERANCE
    mixed = len(plan.parts) > 1
    return {tier: size * TOLERANCE if mixed and size else total for tier, size in wanted.items()}

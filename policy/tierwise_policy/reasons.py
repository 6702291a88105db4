"""Why a plan is as it is, a sentence a part: what `tierctl plan --dry-run` shows."""

from collections.abc import Sequence

from tierwise.plans import Part, Plan
from tierwise.units import format_size
from tierwise_policy.allocation import TierRoom

_RULES = {
    "LAT": "LAT fills the fastest tier first",
    "SHL": "SHL fills the fastest tier first",
    "BW": "BW is spread in proportion to the tiers' bandwidths",
    "CAP": "CAP fills the slowest tier first",
    None: "memory without a class fills the fastest tier first, as the kernel would",
}


def explain(plan: Plan, rooms: Sequence[TierRoom]) -> tuple[str, ...]:
    """One sentence for each part, then one for each way in which the plan is degraded."""
    return (*(_explain(part, rooms) for part in plan.parts), *(f"degraded: {why}" for why in plan.degraded))


def _explain(part: Part, rooms: Sequence[TierRoom]) -> str:
    room = {tier.name: tier.evictable for tier in rooms}
    where = ", ".join(
        f"{format_size(part.tiers[tier])} on {tier} (of {format_size(room[tier])})"
        for tier in room
        if part.tiers.get(tier)
    )
    pinned = f"; {format_size(part.pinned)} of it pinned" if part.pinned else ""
    return f"{_RULES[part.memory_class]}: {where or 'no tier has room'}{pinned}"

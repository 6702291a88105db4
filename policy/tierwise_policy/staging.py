"""On which tier a staged copy lies, and which copies make room for new ones.

Chapter 8, shared memory and images: copies lie on a slow tier, held by reference, and outlive the last job that held
them, so that the next one starts warm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.plans import Plan
from tierwise.tiers import TierName

IDLE_SECONDS = 60.0
"""A copy that was used a moment ago is taken for one that was last used so long ago: one burst is not a habit."""


@dataclass(frozen=True)
class Kept:
    """A copy that nobody holds now: `uses` since it was made, `idle` seconds since the last."""

    name: str
    size: int
    uses: int
    idle: float


def preferred(order: Sequence[TierName], plan: Plan | None) -> tuple[TierName, ...]:
    """The tiers for a copy that a job asks for, best first; `order` is the node's, fastest first.

    Images and input are the bulk of what a job reads: they go where its plan has the most of its capacity part or, if
    it has none, of all its memory (a LAT job's image must not lie on slow memory); without a plan to the slowest.
    Where that tier has no room: to the next slower ones, and upward from there.
    """
    parts = plan.parts if plan else ()
    parts = tuple(part for part in parts if part.memory_class in ("CAP", None)) or parts
    held = {name: sum(part.tiers.get(name, 0) for part in parts) for name in order}
    first = max(range(len(order)), key=lambda place: (held[order[place]], place))
    return (*order[first:], *reversed(order[:first]))


def worth(copy: Kept) -> float:
    """How often each of its bytes is wanted, per second: what a byte of the tier saves by keeping it.

    Reading a copy again costs its size, and keeping it costs its size too: the size cancels out.
    """
    return copy.uses / (copy.idle + IDLE_SECONDS)


def evicted(kept: Sequence[Kept], need: int) -> tuple[str, ...] | None:
    """Which copies go to free `need` bytes, least worthy first, and none that need not; None: they can't free that."""
    chosen: list[Kept] = []
    freed = 0
    for copy in sorted(kept, key=lambda each: (worth(each), -each.size)):
        if freed >= need:
            break
        chosen.append(copy)
        freed += copy.size
    if freed < need:
        return None
    for copy in sorted(chosen, key=worth, reverse=True):
        if freed - copy.size >= need:
            chosen.remove(copy)
            freed -= copy.size
    return tuple(copy.name for copy in chosen)

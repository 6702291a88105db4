"""Which staged copies make room for new ones.

Chapter 8, shared memory and images: copies lie on a slow tier, held by reference, and outlive the last job that held
them, so that the next one starts warm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

IDLE_SECONDS = 60.0
"""A copy that was used a moment ago is taken for one that was last used so long ago: one burst is not a habit."""


@dataclass(frozen=True)
class Kept:
    """A copy that nobody holds now: `uses` since it was made, `idle` seconds since the last."""

    name: str
    size: int
    uses: int
    idle: float


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

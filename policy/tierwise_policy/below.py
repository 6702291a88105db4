"""Below the slowest tier: which of its memory is so cold that it may be paged out where that tier is short.

A page that is used again comes back at the price of a fault: so only what heat says to be unused, and has been for
long, goes; never what is LAT, pinned, or unknown.
"""

from collections.abc import Sequence

import numpy as np

from tierwise_policy.holdings import Bytes, Holding, Level
from tierwise_policy.movement import HUGE, PAGE, Move
from tierwise_policy.recent import Recent

COLD_FOR = 120.0
"""Seconds without a use after which memory may be paged out: what the kernel's DAMON_RECLAIM waits for by default
(Documentation/admin-guide/mm/damon/reclaim.rst, min_age)."""
UNTOUCHED = 0.01
"""Heat below which memory counts as unused: smoothed over windows it comes near to nothing, never to it."""


def paged_out(holdings: Sequence[Holding], levels: Sequence[Level], recent: Recent, most: int) -> list[Move]:
    """At most `most` bytes to page out, the longest unused first: moves from the slowest tier to the number beyond it.

    As many as that tier lacks of its margin, and with it what faster ones lack: their memory goes down only where there
    is room. `holdings` have ranges that were cut by `recent`.
    """
    last = len(levels) - 1
    lacking = [level.margin - level.free for level in levels]
    needed = lacking[last] + sum(max(lack, 0) for lack in lacking[:last])
    left = min(max(needed, HUGE), most) // PAGE * PAGE if needed > 0 else 0
    candidates = [
        (float(each.ranges["age"][row]), each, int(row), int(size[row]))
        for each in holdings
        if each.trusted
        for size in [_cold(each, recent)]
        for row in np.flatnonzero(size >= PAGE)
    ]
    moves = []
    for _, each, row, cold in sorted(candidates, key=lambda candidate: -candidate[0]):
        size = min(cold, left) // PAGE * PAGE
        if not size:
            break
        spot = each.ranges[row]
        moves.append(
            Move(each.job_id, int(spot["pid"]), int(spot["start"]), int(spot["end"]), last, last + 1, size, "cold")
        )
        left -= size
    return moves


def _cold(holding: Holding, recent: Recent) -> Bytes:
    """What of each range on the slowest tier may be paged out. Which pages LAT or a pin meant nobody says: the hottest,
    and of equally hot ones those on the faster tiers. What was tried in vain just now is left for a while."""
    ranges, located = holding.ranges, holding.located
    last = located.shape[1] - 1
    parts = holding.plan.parts if holding.plan else ()
    kept = sum(part.size if part.memory_class == "LAT" else part.pinned for part in parts)
    sizes = located.sum(axis=1)
    order = np.lexsort((located[:, last] / np.maximum(sizes, 1), -ranges["heat"]))
    passed = np.cumsum(sizes[order])
    beyond = np.zeros_like(sizes)
    beyond[order] = np.clip(passed - kept, 0, sizes[order])
    fits = (ranges["heat"] < UNTOUCHED) & (ranges["age"] >= COLD_FOR) & (ranges["pid"] != 0)
    fits &= ~recent.stuck(ranges, last + 1)[:, last]
    cold: Bytes = np.where(fits, np.minimum(beyond, located[:, last]), np.int64(0))
    return cold

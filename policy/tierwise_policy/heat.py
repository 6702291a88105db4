"""The heat of a job: which address ranges it uses, how much memory takes most accesses, and whether to believe it.

A tracker says for each range in which share of its samples a page there had been accessed. Where hot and cold pages
lie mixed within the ranges, ranges say nothing about pages: then the hottest ranges of one window are no hotter than
the rest in the next one. That is measured here, and such a window is not trusted: nothing is promoted on it.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

RANGE = np.dtype([("pid", "i4"), ("start", "u8"), ("end", "u8"), ("heat", "f4"), ("age", "f4")])
"""A range of addresses [start, end) of a process. `heat`: the estimated share of the window's samples in which a page
of the range had been accessed (0 to 1). `age`: seconds for which it has kept about that heat."""

Ranges = npt.NDArray[np.void]
"""A one-dimensional array of RANGE; the ranges of one process ascend and don't overlap."""
Numbers = npt.NDArray[np.float64]
Addresses = npt.NDArray[np.uint64]

MOST = 0.8
"""The hottest part of a job is the smallest that takes this share of its accesses (chapter 8; ALGORITHMS 7)."""
WHOLE = 0.9
"""Where the hottest part is more than this share of the memory, there is no cold one to tell it from."""


@dataclass(frozen=True, eq=False)
class Window:
    """What a tracker saw of one job in `seconds` before `time` (ns since the epoch).

    `trusted`: the hottest ranges of the windows before are the hottest in this one, too. `tracker`: who saw it.
    `steady`: so they were in this window, whatever was before: false right after the hot set has jumped.
    """

    job_id: int
    time: int
    seconds: float
    ranges: Ranges = field(repr=False)
    tracker: str
    trusted: bool
    steady: bool = True


def no_ranges() -> Ranges:
    """An empty array of ranges."""
    return np.empty(0, RANGE)


def sizes(ranges: Ranges) -> Numbers:
    """Bytes of each range."""
    return np.asarray(ranges["end"] - ranges["start"], np.float64)


def clip(ranges: Ranges, starts: Addresses, ends: Addresses) -> Ranges:
    """The parts of one process's ranges that lie within [start, end); both ascend."""
    first = np.searchsorted(ends, ranges["start"], "right")
    last = np.searchsorted(starts, ranges["end"], "left")
    counts = np.maximum(last - first, 0)
    which = np.repeat(np.arange(len(ranges)), counts)
    area = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
    clipped: Ranges = ranges[which]
    clipped["start"] = np.maximum(clipped["start"], starts[area])
    clipped["end"] = np.minimum(clipped["end"], ends[area])
    return clipped


def working_set(ranges: Ranges) -> int:
    """Bytes of all ranges that were accessed at all."""
    return int(sizes(ranges)[ranges["heat"] > 0].sum())


def hottest(ranges: Ranges, share: float = MOST) -> Ranges:
    """The fewest bytes that take `share` of the accesses, the hottest first; whole ranges, so the last adds more."""
    heat = np.asarray(ranges["heat"], np.float64)
    order = np.argsort(-heat, kind="stable")
    taken = np.cumsum((sizes(ranges) * heat)[order])
    if not len(taken) or taken[-1] <= 0:
        return ranges[:0]
    chosen: Ranges = ranges[order[: int(np.searchsorted(taken, share * taken[-1])) + 1]]
    return chosen


def hot(ranges: Ranges) -> Ranges:
    """The ranges at least half as hot as the hottest part is on average: a hot set whole, not MOST of it."""
    part = hottest(ranges)
    if not len(part):
        return part
    mean = np.average(part["heat"], weights=sizes(part))
    found: Ranges = ranges[ranges["heat"] >= mean / 2]
    return found


def shares(chosen: Ranges, ranges: Ranges, resident: int = 0) -> tuple[float, float]:
    """Which share of the memory in `ranges`, and which share of its accesses, lies within the ranges of `chosen`.

    `resident`: the bytes that really are in memory, where that is less than the ranges are long (holes).
    """
    within = accessed = 0.0
    for pid in np.unique(chosen["pid"]):
        inner, outer = chosen[chosen["pid"] == pid], ranges[ranges["pid"] == pid]
        within += _integral(inner, outer, np.ones(len(outer)))
        accessed += _integral(inner, outer, np.asarray(outer["heat"], np.float64))
    total = sizes(ranges)
    size = min(float(total.sum()), resident or np.inf)
    accesses = float((total * ranges["heat"]).sum())
    return min(within / size, 1.0) if size else 0.0, min(accessed / accesses, 1.0) if accesses else 0.0


def trustworthy(before: Ranges, now: Ranges, resident: int = 0) -> bool:
    """Whether what was hottest before takes so many of the accesses now that it was no chance.

    Chosen at random, a share p of the memory takes p of the accesses. Twice that is asked (the precision of "hot" is
    then twice its base rate), or, where p is so large that twice is not possible, half of what is.
    """
    part, taken = shares(hottest(before), now, resident)
    return 0 < part < WHOLE and taken >= min(2 * part, (1 + part) / 2)


def _integral(inner: Ranges, outer: Ranges, density: Numbers) -> float:
    """The sum of `density` per byte of `outer`, over what `inner` covers of it; both of one process."""
    if not len(outer):
        return 0.0
    outer, density = outer[(order := np.argsort(outer["start"], kind="stable"))], density[order]
    places = np.stack([outer["start"], outer["end"]], axis=1).ravel().astype(np.float64)
    mass = np.cumsum(sizes(outer) * density)
    passed = np.stack([mass - sizes(outer) * density, mass], axis=1).ravel()
    ends = np.interp(inner["end"].astype(np.float64), places, passed)
    starts = np.interp(inner["start"].astype(np.float64), places, passed)
    return float((ends - starts).sum())

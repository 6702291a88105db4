"""Where a job's memory lies, by address: known from one walk of its pages, and counted on through the moves since.

Walking pages costs far more than anything else that following them needs, and heat comes in other ranges in each
window. So what a walk found is kept in pieces of its own, which each window's ranges are laid upon.
"""

from dataclasses import dataclass, field

import numpy as np

from tierwise_policy.heat import RANGE, Numbers, Ranges, sizes
from tierwise_policy.holdings import Bytes, total

PIECES = 256
"""A range is walked in pieces of at most this part of all: so finely is known where in it something lies."""
PAGE = 4096


@dataclass(frozen=True, eq=False)
class Whereabouts:
    """`located[i, t]`: bytes of `pieces[i]` on tier t (0: the fastest), wherever in the piece. Pieces of one process
    ascend and don't overlap."""

    pieces: Ranges = field(repr=False)
    located: Bytes = field(repr=False)

    @property
    def found(self) -> Bytes:
        """Bytes on each tier."""
        return total(self.located)

    def of(self, ranges: Ranges) -> Bytes:
        """Bytes of each of these ranges on each tier; a piece that lies in several is shared out by length."""
        found = np.zeros((len(ranges), self.located.shape[1]), np.int64)
        for pid in np.unique(ranges["pid"]):
            rows, its = np.flatnonzero(ranges["pid"] == pid), self.pieces["pid"] == pid
            if its.any():
                found[rows] = _shared_out(ranges[rows], self.pieces[its], self.located[its])
        return found

    def moved(self, rows: Ranges, source: int, target: int, size: int) -> "Whereabouts":
        """After `size` bytes in these rows of one process, which were taken in their order, went from one tier to
        another."""
        pieces = cut_at(self.pieces, rows)
        here = Whereabouts(pieces, self.of(pieces))
        for row in rows:
            inside = np.flatnonzero(
                (pieces["pid"] == row["pid"]) & (pieces["start"] >= row["start"]) & (pieces["end"] <= row["end"])
            )
            there = np.cumsum(here.located[inside, source])
            gone = np.diff(np.minimum(there, size), prepend=0)
            here.located[inside, source] -= gone
            here.located[inside, target] += gone
            size -= int(gone.sum())
        return here


def in_pieces(ranges: Ranges) -> Ranges:
    """The same ranges in order of addresses, the long ones cut up."""
    ranges = ranges[np.lexsort((ranges["start"], ranges["pid"]))]
    longest = max(int(sizes(ranges).sum()) // PIECES // PAGE * PAGE, PAGE)
    counts = -(-sizes(ranges).astype(np.int64) // longest)
    pieces: Ranges = np.repeat(ranges, counts)
    number = (np.arange(len(pieces)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.uint64)
    pieces["start"] += number * np.uint64(longest)
    pieces["end"] = np.minimum(pieces["end"], pieces["start"] + np.uint64(longest))
    return pieces


def cut_at(ranges: Ranges, others: Ranges) -> Ranges:
    """The same ranges, cut at the ends of the others: each piece then lies within one of these or beside it."""
    pieces = [_cut_process(ranges[ranges["pid"] == pid], others[others["pid"] == pid]) for pid in _pids(ranges)]
    return np.concatenate(pieces) if pieces else ranges


def _pids(ranges: Ranges) -> list[int]:
    return [int(pid) for pid in np.unique(ranges["pid"])]


def _cut_process(ranges: Ranges, others: Ranges) -> Ranges:
    if not len(others):
        return ranges
    edges = np.unique(np.concatenate([others["start"], others["end"], ranges["start"], ranges["end"]]))
    starts, ends = edges[:-1], edges[1:]
    ranges = ranges[np.argsort(ranges["start"], kind="stable")]
    row = np.searchsorted(ranges["start"], starts, side="right") - 1
    inside = (row >= 0) & (starts < ranges["end"][row])
    pieces = np.empty(int(inside.sum()), RANGE)
    pieces[:] = ranges[row[inside]]
    pieces["start"], pieces["end"] = starts[inside], ends[inside]
    return pieces


def _shared_out(ranges: Ranges, pieces: Ranges, located: Bytes) -> Bytes:
    """What of `located` lies within each range, in whole pages; all of one process."""
    edges = np.stack([pieces["start"], pieces["end"]], axis=1).ravel().astype(np.float64)
    starts, ends = (ranges[name].astype(np.float64) for name in ("start", "end"))
    found = np.zeros((len(ranges), located.shape[1]), np.int64)
    for tier in range(located.shape[1]):
        passed = np.cumsum(located[:, tier])
        places: Numbers = np.stack([passed - located[:, tier], passed], axis=1).ravel().astype(np.float64)
        pages = [np.rint(np.interp(at, edges, places) / PAGE).astype(np.int64) for at in (starts, ends)]
        found[:, tier] = (pages[1] - pages[0]) * PAGE
    return found

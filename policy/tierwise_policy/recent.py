"""What was moved lately, so that no page is moved twice within SETTLED seconds: the hysteresis in time.

A page that has just arrived on a tier does not leave it: not back (ping-pong), and not further (one long way in steps).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tierwise_policy.heat import RANGE, Ranges

SETTLED = 30.0
"""Seconds for which a page that was moved stays where it landed."""
MOST = 4096
"""Records kept: beyond it the oldest are forgotten, which may cost a page a second move and nothing else."""
LANDED = np.dtype([("pid", "i4"), ("start", "u8"), ("end", "u8"), ("tier", "i4"), ("time", "f8")])
"""Addresses [start, end) of a process whose pages landed on tier number `tier` (0: the fastest) at `time` (seconds)."""


@dataclass(frozen=True, eq=False)
class Recent:
    """Moves of the last SETTLED seconds, of all jobs: a process belongs to one job. `records` is an array of LANDED."""

    records: npt.NDArray[np.void] = field(default_factory=lambda: np.empty(0, LANDED))

    def add(self, now: float, landed: npt.NDArray[np.void]) -> "Recent":
        """With these arrivals (LANDED), and without those that have settled by `now`."""
        kept = self.records[self.records["time"] > now - SETTLED]
        return Recent(np.concatenate([kept, landed])[-MOST:])

    def cut(self, ranges: Ranges) -> Ranges:
        """The same ranges, cut at the ends of the records: each piece then lies within a record or beside it."""
        pieces = [self._cut_process(ranges[ranges["pid"] == pid]) for pid in np.unique(ranges["pid"])]
        return np.concatenate(pieces) if pieces else ranges

    def stuck(self, ranges: Ranges, tiers: int) -> npt.NDArray[np.bool_]:
        """For each piece (see `cut`) and each of so many tiers: whether its pages there arrived just now."""
        found = np.zeros((len(ranges), tiers), np.bool_)
        for tier in np.unique(self.records["tier"]):
            records = self.records[self.records["tier"] == tier]
            for pid in np.unique(records["pid"]):
                rows = np.flatnonzero(ranges["pid"] == pid)
                its = records[records["pid"] == pid]
                starts, ends = ranges["start"][rows, None], ranges["end"][rows, None]
                found[rows, tier] = ((its["start"] <= starts) & (ends <= its["end"])).any(axis=1)
        return found

    def _cut_process(self, ranges: Ranges) -> Ranges:
        its = self.records[self.records["pid"] == ranges["pid"][0]]
        if not len(its):
            return ranges
        edges = np.unique(np.concatenate([its["start"], its["end"], ranges["start"], ranges["end"]]))
        starts, ends = edges[:-1], edges[1:]
        ranges = ranges[np.argsort(ranges["start"], kind="stable")]
        row = np.searchsorted(ranges["start"], starts, side="right") - 1
        inside = (row >= 0) & (starts < ranges["end"][row])
        pieces = np.empty(int(inside.sum()), RANGE)
        pieces[:] = ranges[row[inside]]
        pieces["start"], pieces["end"] = starts[inside], ends[inside]
        return pieces

"""What was moved lately, so that no page is moved twice within SETTLED seconds: the hysteresis in time.

A page that has just arrived on a tier does not leave it: not back (ping-pong), and not further (one long way in steps).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tierwise_policy.heat import Ranges
from tierwise_policy.whereabouts import cut_at

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
        return Recent(np.concatenate([self.at(now).records, landed])[-MOST:])

    def at(self, now: float) -> "Recent":
        """Without what has settled by `now`."""
        moving = self.records["time"] > now - SETTLED
        return self if moving.all() else Recent(self.records[moving])

    def cut(self, ranges: Ranges) -> Ranges:
        """The same ranges, cut at the ends of the records: each piece then lies within records or beside them."""
        return cut_at(ranges, self.records)

    def stuck(self, ranges: Ranges, tiers: int) -> npt.NDArray[np.bool_]:
        """For each piece (see `cut`) and each of so many tiers: whether its pages there arrived just now."""
        found = np.zeros((len(ranges), tiers), np.bool_)
        for tier in np.unique(self.records["tier"]):
            records = self.records[self.records["tier"] == tier]
            for pid in np.unique(records["pid"]):
                rows = np.flatnonzero(ranges["pid"] == pid)
                found[rows, tier] = _within(ranges[rows], records[records["pid"] == pid])
        return found


def _within(ranges: Ranges, records: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which ranges lie within what the records, all of one process, cover together."""
    records = records[np.argsort(records["start"], kind="stable")]
    reach = np.maximum.accumulate(records["end"])
    first = np.concatenate([[True], records["start"][1:] > reach[:-1]])
    starts, ends = records["start"][first], reach[np.concatenate([first[1:], [True]])]
    run = np.searchsorted(starts, ranges["start"], side="right") - 1
    inside: npt.NDArray[np.bool_] = (run >= 0) & (ranges["end"] <= ends[run])
    return inside

"""Heat over several windows: one window is a sample of twenty looks, and pages that move on its noise bounce."""

import numpy as np

from tierwise_policy.heat import Numbers, Ranges

NEWEST, JUMPED = 0.5, 0.8
"""The newest window's weight; all before share the rest. Where the hot set has jumped, the new one leads at once."""


def smoothed(now: Ranges, before: Ranges, newest: float = NEWEST) -> Ranges:
    """The ranges of `now`; their heat is the mean with what `before` (itself smoothed) says of the same addresses.

    What `before` did not know keeps its heat.
    """
    mixed = now.copy()
    for pid in np.unique(now["pid"]):
        rows, old = np.flatnonzero(now["pid"] == pid), before[before["pid"] == pid]
        known, heat = _covered(now[rows], old)
        new = now["heat"][rows]
        mixed["heat"][rows] = np.where(known > 0, new * (1 - known * (1 - newest)) + heat * known * (1 - newest), new)
    return mixed


def _covered(ranges: Ranges, old: Ranges) -> tuple[Numbers, Numbers]:
    """Which share of each range `old` covers, and the mean heat of what it covers. Both of one process."""
    length = (ranges["end"] - ranges["start"]).astype(np.float64)
    if not len(old):
        return np.zeros(len(ranges)), np.zeros(len(ranges))
    old = old[np.argsort(old["start"], kind="stable")]
    size = (old["end"] - old["start"]).astype(np.float64)
    edges = np.stack([old["start"], old["end"]], axis=1).ravel().astype(np.float64)

    def between(density: Numbers) -> Numbers:
        passed = np.cumsum(size * density)
        places = np.stack([passed - size * density, passed], axis=1).ravel()
        ends: Numbers = np.interp(ranges["end"].astype(np.float64), edges, places)
        starts: Numbers = np.interp(ranges["start"].astype(np.float64), edges, places)
        return ends - starts

    covered = between(np.ones(len(old)))
    mass = between(old["heat"].astype(np.float64))
    return covered / length, mass / np.maximum(covered, 1.0)

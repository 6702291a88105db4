"""How busy a node may be before a job is kept away from it: learned from the job's own history (chapter 3).

The chapter names an "adaptive threshold derived from historical job profiling data" without a rule. Ours: a job that
needs a share u of a resource fits beside others until they use 1 − u. Where its runs show that it did not suffer on
busier nodes, the threshold rises to the busiest of them; where it suffered on less busy ones, it falls to those.
"""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from tierwise.telemetry import RESOURCES, Resource, Utilisation

BOUNDS = (0.5, 0.95)
DEFAULT = 0.8
MIN_RUNS = 5
"""Runs on each side of a threshold before they may move it."""
SUFFERS = 1.1
"""A run that took this many times its signature's median suffered."""


class Exposure(msgspec.Struct, frozen=True):
    """One completed run on one node: what others used meanwhile, what the job used itself, both as shares, and its
    run time over the median of its signature."""

    others: Utilisation
    own: Utilisation
    slowdown: float


def thresholds(runs: Sequence[Exposure], default: float = DEFAULT) -> dict[Resource, float]:
    """The threshold of each resource for a signature with these runs; `default` where there are too few."""
    if len(runs) < MIN_RUNS:
        return dict.fromkeys(RESOURCES, default)
    return {resource: _threshold(runs, resource) for resource in RESOURCES}


def usual(default: float = DEFAULT) -> Mapping[Resource, float]:
    """The thresholds of a job without a history."""
    return dict.fromkeys(RESOURCES, default)


def _threshold(runs: Sequence[Exposure], resource: Resource) -> float:
    low, high = BOUNDS
    pairs = sorted((run.others.share(resource), run.slowdown) for run in runs)
    own = sorted(run.own.share(resource) for run in runs)
    limit = min(max(1.0 - own[min(int(len(own) * 0.95), len(own) - 1)], low), high)
    busier = [pair for pair in pairs if pair[0] >= limit]
    if len(busier) >= MIN_RUNS and median(slow for _, slow in busier) < SUFFERS:
        limit = busier[-1][0]
    elif (onset := _onset(pairs)) is not None:
        limit = min(limit, onset)
    return min(max(limit, low), high)


def _onset(pairs: Sequence[tuple[float, float]]) -> float | None:
    """The share from which on runs suffered while those below it did not; None: nothing like it is to be seen."""
    for cut in range(MIN_RUNS, len(pairs) - MIN_RUNS + 1):
        below, above = pairs[:cut], pairs[cut:]
        if pairs[cut][0] > pairs[cut - 1][0] and (
            median(slow for _, slow in above) >= SUFFERS > median(slow for _, slow in below)
        ):
            return pairs[cut][0]
    return None

"""The ranking of nodes as Slurm weights: the site's own, times 1000, plus 1 for a node clearly worse than the others.

Slurm takes the node of the lowest weight first. What that costs is not the number of weights but their changes: Slurm
keeps equal nodes in one record, an update of some of them splits it, every job that is looked at goes through all
records (slurmctld's `_update_node_weight`, `_build_node_list`), and in 22.05 only a reconfigure puts them together
again. So there are two bands, and only a lasting difference moves a node: its score is that of the last minutes.
"""

from collections.abc import Collection, Mapping
from statistics import median

BANDS = 2
SCALE = 1000
WORSE = 0.1
"""How far below the median of all a node's score is when the node is worse,"""
RECOVERED = 0.05
"""and how far it may be below when it is not any more."""


def worse(scores: Mapping[str, float], before: Collection[str] = ()) -> set[str]:
    """The nodes whose score (between 0 and 1) is clearly below most others'; `before` are those that were."""
    if not scores:
        return set()
    usual = median(scores.values())
    return {node for node, score in scores.items() if usual - score > (RECOVERED if node in before else WORSE)}


def weight(site: int, of_band: int) -> int:
    """The weight to publish."""
    return site * SCALE + of_band


def updates(wanted: Mapping[str, int], published: Mapping[str, int]) -> dict[int, list[str]]:
    """The nodes whose weight is not what it should be, by the weight that they should have: one update for each."""
    changed: dict[int, list[str]] = {}
    for node in sorted(wanted):
        if published.get(node) != wanted[node]:
            changed.setdefault(wanted[node], []).append(node)
    return changed

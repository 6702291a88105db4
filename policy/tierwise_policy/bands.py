"""The ranking of nodes as Slurm weights: the site's own weight, times 1000, plus one of 8 bands of the score.

Slurm takes the node of the lowest weight first, so band 0 is the best. Bands have a width: a score that only trembles
must not make slurmctld sort its nodes again.
"""

from collections.abc import Mapping

BANDS = 8
SCALE = 1000
MARGIN = 0.25
"""Of a band's width: how far a score must leave its band before the node changes it."""


def band(score: float, before: int | None = None) -> int:
    """The band of a score between 0 and 1; `before` is where the node was."""
    place = (1.0 - min(max(score, 0.0), 1.0)) * BANDS
    if before is not None and before - MARGIN <= place < before + 1 + MARGIN:
        return before
    return min(int(place), BANDS - 1)


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

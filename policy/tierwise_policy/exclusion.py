"""Which nodes a job is kept away from altogether: few and lasting ones, and never so that it has to wait for them."""

from collections.abc import Collection, Mapping

SHARE = 0.1
"""Of the eligible nodes, at most."""


def exclusions(
    reasons: Mapping[str, float], eligible: Collection[str], asked: int, held: Collection[str] = ()
) -> tuple[str, ...]:
    """Of the nodes that there is a `reason` to avoid, with how bad it is, those to exclude: the worst first, at most
    SHARE of the `eligible` ones, always leaving more than the job asks for. Those that it excludes already (`held`)
    come before others that are as bad: a pending job's list must not change with each look."""
    most = min(int(len(eligible) * SHARE), len(eligible) - asked - 1)
    bad = [node for node in reasons if node in eligible]
    bad.sort(key=lambda node: (-round(reasons[node], 1), node not in held, node))
    return tuple(sorted(bad[: max(most, 0)]))

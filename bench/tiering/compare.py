"""Comparing environments run by run: ratios of modelled time, their means and 95 % intervals, and whether a claim
outlives the model's variations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiering.model import Machine, geometric_mean, variants
from tiering.results import Result

T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for the 95 % interval of the mean of so many runs."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `runs`, and how far its 95 % interval reaches to either side; None for a single run."""

    mean: float
    reach: float | None
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.reach is None else f"{self.mean:.3f} ± {self.reach:.3f}"


def estimate(values: Sequence[float]) -> Estimate:
    """From one value a run. ValueError if there is none."""
    if not values:
        raise ValueError("nothing was measured")
    reach = None
    if len(values) > 1:
        quantile = T_975.get(len(values), 2.0)
        reach = quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Estimate(float(np.mean(values)), reach, len(values))


@dataclass(frozen=True)
class Pair:
    """The same workflows in the same run in two environments: `ours` is compared with `theirs`."""

    ours: Result
    theirs: Result

    def ratios(self, machine: Machine) -> dict[str, float]:
        """Time of ours over theirs, by workflow."""
        ours, theirs = self.ours.times(machine), self.theirs.times(machine)
        return {name: ours[name] / theirs[name] for name in self.ours.workflows}


def pairs(results: Sequence[Result], ours: str, theirs: str) -> list[Pair]:
    """What both environments ran, by run."""
    known = {(other.workflows, other.dram, other.run): other for other in results if other.environment == theirs}
    mine = [result for result in results if result.environment == ours]
    keys = [(result.workflows, result.dram, result.run) for result in mine]
    return [Pair(result, known[key]) for result, key in zip(mine, keys, strict=True) if key in known]


def means(compared: Sequence[Pair], machine: Machine) -> list[float]:
    """The geometric mean over all workflows of each run's ratios."""
    by_run: dict[int, list[float]] = {}
    for pair in compared:
        by_run.setdefault(pair.ours.run, []).extend(pair.ratios(machine).values())
    return [geometric_mean(ratios) for _, ratios in sorted(by_run.items())]


def by_workflow(compared: Sequence[Pair], machine: Machine) -> dict[str, list[float]]:
    """The ratios of each workflow, one a run."""
    found: dict[str, list[float]] = {}
    for pair in sorted(compared, key=lambda pair: pair.ours.run):
        for name, ratio in pair.ratios(machine).items():
            found.setdefault(name, []).append(ratio)
    return found


def against_the_claim(compared: Sequence[Pair], machine: Machine) -> list[str]:
    """The variants of the model in which the mean ratio is on the other side of 1 than as stated."""
    stated = np.mean(means(compared, machine)) < 1
    return [name for name, other in variants(machine) if (np.mean(means(compared, other)) < 1) != stated]

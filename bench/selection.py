"""Node selection against random and least-loaded placement: `make bench-selection`, about a minute.

A simulated cluster (sim/tierwise_sim) replays chapter 3's experiments with the real policy code; each job's run time
under our selection is compared with the same job's under the others, from the same seeds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

from figures import Figure, publish
from rich.console import Console
from rich.table import Table

from tierwise_sim.experiments import EXPERIMENTS, PLACEMENTS, Experiment, geometric_mean, ratio, run_times

SEEDS = 12
OTHERS = [name for name in PLACEMENTS if name != "selected"]


def compare(experiment: Experiment, seeds: int) -> dict[str, dict[float, float]]:
    """For each of the other placements, our run time over theirs at each level."""
    found: dict[str, dict[float, float]] = defaultdict(dict)
    for level in experiment.levels:
        ratios: dict[str, list[float]] = defaultdict(list)
        for seed in range(seeds):
            ours = run_times(experiment, level, "selected", seed)
            for other in OTHERS:
                ratios[other].append(ratio(ours, run_times(experiment, level, other, seed)))
        for other in OTHERS:
            found[other][level] = geometric_mean(ratios[other])
    return found


def levels_table(found: dict[str, dict[str, dict[float, float]]]) -> Table:
    """Each experiment at each level, beside the dissertation's figures."""
    table = Table(title="run time of ours over theirs", title_justify="left")
    for name in ("experiment", "level", *OTHERS, "chapter 3, against unaware placement"):
        table.add_column(name)
    for experiment in EXPERIMENTS:
        for place, level in enumerate(experiment.levels):
            ratios = [f"{found[experiment.name][other][level]:.3f}" for other in OTHERS]
            head = (experiment.text, experiment.dissertation) if place == 0 else ("", "")
            table.add_row(head[0], f"{level:g}", *ratios, head[1])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    found = {experiment.name: compare(experiment, seeds) for experiment in EXPERIMENTS}
    Console().print(levels_table(found))
    figures = []
    for other in OTHERS:
        over_all = [value for one in found.values() for value in one[other].values()]
        text = f"run time against {other.replace('_', ' ')} placement"
        figures.append(Figure(f"runtime_vs_{other}", text, geometric_mean(over_all)))
        for experiment in EXPERIMENTS:
            mean = geometric_mean(list(found[experiment.name][other].values()))
            figures.append(Figure(f"{experiment.name}_vs_{other}", f"… {experiment.text}", mean))
    print(publish("selection", figures, seeds))


if __name__ == "__main__":
    main()

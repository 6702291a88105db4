"""The plot of the manual: modelled time of each workflow in each environment, as multiples of all in DRAM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tiering.compare import by_workflow, pairs
from tiering.machine import model_machine
from tiering.results import Result
from tiering.sizes import DIRECTIVES

SHOWN = {"tierwise": "#2b6cb0", "kernel": "#a0aec0", "damon": "#d69e2e", "constrained": "#742a2a"}
WIDTH = 0.2


def plot(results: Sequence[Result], path: Path) -> None:
    """Write the picture."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, together in zip(figure.subplots(1, 2, sharey=True), (True, False), strict=True):
        chosen = [result for result in results if result.together == together]
        for number, (environment, colour) in enumerate(SHOWN.items()):
            ratios = by_workflow(pairs(chosen, environment, "ideal"), model_machine())
            heights = [float(np.mean(ratios[name])) if name in ratios else 0.0 for name in DIRECTIVES]
            places = np.arange(len(DIRECTIVES)) + number * WIDTH
            axes.bar(places, heights, WIDTH, color=colour, label=environment)
        axes.set_xticks(np.arange(len(DIRECTIVES)) + 1.5 * WIDTH, list(DIRECTIVES))
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_title("all together" if together else "each alone")
    figure.axes[0].set_ylabel("modelled time ÷ all in DRAM")
    figure.axes[0].legend()
    figure.savefig(path)

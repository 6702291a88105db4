"""`python -m tiering`: validate the clock, measure, report. `make bench-tiering` does all three."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import click
from figures import BUILD

from tiering import report, sizes
from tiering.environments import ENVIRONMENTS
from tiering.measure import Trial, measure
from tiering.validate import TOLERANCE, validate

FOLDER = BUILD / "tiering"
COMPARED = ("ideal", "constrained", "kernel", "kernel-defer", "damon", "tierwise")


@click.group()
def main() -> None:
    """What tiering is worth, on a virtual node with a memory clock."""


@main.command("validate")
def validate_clock() -> None:
    """Walk through each tier: does the clock give the configured ratios?"""
    ratios = validate(FOLDER / "validate.counts")
    report.validation(ratios, FOLDER)
    if any(abs(ratio.error) > TOLERANCE for ratio in ratios):
        raise click.ClickException(f"a ratio is off by more than {TOLERANCE:.0%}: nothing that the clock says counts")


@main.command("measure")
@click.option("--environment", "environments", multiple=True, type=click.Choice(sorted(ENVIRONMENTS)))
@click.option("--runs", default=1, show_default=True, help="Repetitions, each on a node of its own.")
@click.option("--first", default=1, show_default=True, help="The number of the first of them.")
@click.option("--dram", default=sizes.DRAM_SHARE, show_default=True, help="DRAM as a share of what the programs use.")
@click.option("--together/--no-together", default=True, show_default=True, help="The workflows together.")
@click.option("--alone/--no-alone", default=True, show_default=True, help="Each workflow alone.")
def measure_all(environments: tuple[str, ...], runs: int, first: int, dram: float, together: bool, alone: bool) -> None:
    """Run the workflows together, and each alone, in every environment; environments take turns in going first."""
    every = tuple(sizes.DIRECTIVES)
    groups = [*([every] if together else []), *((name,) for name in every if alone)]
    chosen = deque(environments or COMPARED)
    for run in range(first, first + runs):
        measure([Trial(environment, group, dram, run) for group in groups for environment in chosen], FOLDER)
        chosen.rotate()


@main.command("report")
@click.option("--docs", type=click.Path(path_type=Path), help="Also write the table and the plot into this folder.")
def report_all(docs: Path | None) -> None:
    """Tables, the figures in build/bench/tiering.json, and the plot."""
    report.report(FOLDER, docs)


if __name__ == "__main__":
    main()

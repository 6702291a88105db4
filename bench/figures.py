"""What every benchmark does with its figures: a table for people, flat keys in build/bench/NAME.json, and the table
again in NAME.md, for docs/figures.md (`make figures`)."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

BUILD = Path(__file__).parents[1] / "build" / "bench"


@dataclass(frozen=True)
class Figure:
    """One measured number: `key` in the file, `text` for people, and the budget it has to keep, if it has one."""

    key: str
    text: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the budget is kept; a figure without one always is."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def budget(self) -> str:
        """The budget in words, empty where there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def verdict(self) -> str:
        """Whether its budget was kept, in a word; empty where there is none."""
        return "" if not self.budget else "kept" if self.holds else "missed"


def publish(name: str, figures: Sequence[Figure], runs: int, command: str = "") -> Path:
    """Print the figures and write build/bench/NAME.json; `runs` is how often each side was measured, `command` what
    measures them where that isn't `make bench-NAME`."""
    _print(name, figures, runs)
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / f"{name}.json"
    content = {
        **{figure.key: round(figure.value, 4) for figure in figures},
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "runs": runs,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    path.with_suffix(".md").write_text(markdown(name, figures, runs, command or f"make bench-{name}"))
    return path


def markdown(name: str, figures: Sequence[Figure], runs: int, command: str) -> str:
    """The figures as a section of a page."""
    rows = [f"| {figure.text} | {figure.value:,.4g} | {figure.budget} | {figure.verdict} |" for figure in figures]
    source = f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {runs} {'run' if runs == 1 else 'runs'}, {machine()}"
    return "\n".join([f"## {name}", source, "", "| what | measured | budget | |", "|---|---:|---:|---|", *rows, ""])


def machine() -> str:
    """Processor, cores, memory and kernel of this machine, in one line."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    name = model.group(1) if model else platform.machine()
    return f"{name}, {os.cpu_count()} CPUs, {memory:.0f} GiB, Linux {platform.release()}"


def versions() -> dict[str, str]:
    """What was measured: ours, and what it stands on."""
    slurm = subprocess.run(["slurmctld", "-V"], check=False, capture_output=True, text=True)
    return {
        "tierwise": _installed("tierwise"),
        "python": platform.python_version(),
        "slurm": slurm.stdout.strip().removeprefix("slurm-wlm ").removeprefix("slurm "),
    }


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _print(name: str, figures: Sequence[Figure], runs: int) -> None:
    table = Table(title=f"{name} · {runs} runs · {machine()}", title_justify="left")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("budget", justify="right")
    table.add_column("")
    for figure in figures:
        table.add_row(
            figure.text, f"{figure.value:,.4g}", figure.budget, figure.verdict, style=None if figure.holds else "red"
        )
    Console().print(table)

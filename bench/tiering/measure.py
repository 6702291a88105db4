"""Measuring: boots a node, runs trials on it one after the other, and keeps what was counted, a JSON file a trial."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiering import sizes
from tiering.counts import Session, Slices, sessions
from tiering.environments import ENVIRONMENTS
from tiering.machine import booted
from tierwise_lab.guest import Guest

PATIENCE_S = 900.0
TOGETHER = "together"
ON_NODE = {"PYTHONPATH": "/opt/tierwise/bench:/bench/site"}


@dataclass(frozen=True)
class Trial:
    """Some workflows at the same time in one environment, with DRAM for this share of their memory; `run` numbers
    the repetitions."""

    environment: str
    workflows: tuple[str, ...]
    dram: float
    run: int

    @property
    def name(self) -> str:
        """Of its file."""
        which = self.workflows[0] if len(self.workflows) == 1 else TOGETHER
        return f"{self.environment}-{which}-{self.dram:g}-{self.run}"


def measure(trials: Sequence[Trial], folder: Path) -> None:
    """Boot one node and run these trials on it; each leaves `folder`/NAME.json. Between two of them the page cache
    is dropped and everything that the one before started is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = folder / "clock.counts"
    with booted(counts) as guest:
        for number, trial in enumerate(trials):
            outcome = _run(guest, trial, first_id=100 + 10 * number)
            session = sessions(counts.read_text().splitlines())[-1]
            content = {"trial": asdict(trial), "date": datetime.now(UTC).isoformat(timespec="seconds"), **outcome}
            content["counts"] = _columns(session, outcome)
            (folder / f"{trial.name}.json").write_text(json.dumps(content))
            print(f"{trial.name}: {outcome['kernel']}", flush=True)


def _run(guest: Guest, trial: Trial, first_id: int) -> dict[str, Any]:
    question = {
        "environment": trial.environment,
        "jobs": {name: sizes.DIRECTIVES[name] for name in trial.workflows},
        "free": sizes.free(ENVIRONMENTS[trial.environment].memory, trial.workflows, trial.dram),
        "memory": {name: sizes.limit(name, len(trial.workflows) == 1) for name in trial.workflows},
        "first_id": first_id,
    }
    argv = ["python3", "-m", "tiering.inside.node"]
    done = guest.run(argv, input=json.dumps(question).encode(), env=ON_NODE, timeout=PATIENCE_S, check=True)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def _columns(session: Session, outcome: dict[str, Any]) -> dict[str, Any]:
    """The counts of each workflow's program, and of all that each CPU did."""
    programs = {name: session.program[job["cpu"]] for name, job in outcome["jobs"].items()}
    return {
        "programs": {name: _lists(slices) for name, slices in programs.items()},
        "cpus": {cpu: _lists(slices) for cpu, slices in session.all.items()},
    }


def _lists(slices: Slices) -> dict[str, Any]:
    return {name: column.tolist() for name, column in vars(slices).items()}

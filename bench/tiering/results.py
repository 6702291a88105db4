"""What was measured, read back and turned into times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiering.counts import Slices
from tiering.model import Machine, Program, times

SYSTEM, SYSTEM_CPU = "system", 0


@dataclass(frozen=True)
class Result:
    """One trial's outcome: the programs' counts, all that each CPU did, and what the kernel and the jobs reported."""

    environment: str
    workflows: tuple[str, ...]
    dram: float
    run: int
    programs: Mapping[str, Program]
    cpus: Mapping[int, Slices]
    jobs: Mapping[str, Mapping[str, Any]]
    kernel: Mapping[str, int]

    @property
    def together(self) -> bool:
        """Whether it ran more than one workflow."""
        return len(self.workflows) > 1

    def times(self, machine: Machine) -> dict[str, float]:
        """Seconds by workflow; and, as SYSTEM, of the CPU that the agent and most kernel threads run on."""
        return times(machine, {**self.programs, SYSTEM: Program(self.cpus[SYSTEM_CPU])})


def load(folder: Path) -> list[Result]:
    """All trials in `folder`."""
    return [_result(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def _result(content: dict[str, Any]) -> Result:
    trial, counts = content["trial"], content["counts"]
    return Result(
        environment=trial["environment"],
        workflows=tuple(trial["workflows"]),
        dram=trial["dram"],
        run=trial["run"],
        programs={
            name: Program(_slices(columns), content["jobs"][name]["major_faults"])
            for name, columns in counts["programs"].items()
        },
        cpus={int(cpu): _slices(columns) for cpu, columns in counts["cpus"].items()},
        jobs=content["jobs"],
        kernel=content["kernel"],
    )


def _slices(columns: dict[str, list[Any]]) -> Slices:
    return Slices(**{name: np.array(column, dtype=np.int64) for name, column in columns.items()})

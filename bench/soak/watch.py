"""What the soak looks at while it runs and at its end: descriptors, memory, kdamonds, plans, reports."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tierwise.client import DecisionClient
from tierwise.errors import TierwiseError
from tierwise.local import ask
from tierwise_lab.stack import Stack

CGROUPS = Path("/sys/fs/cgroup")


def descriptors(pid: int) -> int:
    """Open descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def kinds(pid: int) -> Counter[str]:
    """What a process has open, without the numbers that tell sockets and pipes apart."""
    found: Counter[str] = Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found[os.readlink(f"/proc/{pid}/fd/{number}").split(":[")[0]] += 1
    return found


def resident(pid: int) -> int:
    """Bytes of a process's own memory (without what it maps of files)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) * 1024


def busy(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


@dataclass
class Samples:
    """What a daemon held: the service all the time, each agent at the end of its life."""

    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def add(self, pid: int) -> None:
        """What it holds now."""
        self.memory.append(resident(pid))
        self.descriptors.append(descriptors(pid))


def early_and_late(samples: Sequence[int]) -> tuple[float, float]:
    """The median of the second quarter, and that of the last one: the first quarter fills pools and caches."""
    quarter = len(samples) // 4
    if not quarter:
        return 1.0, 1.0
    return median(samples[quarter : 2 * quarter]), median(samples[-quarter:])


def growth(samples: Sequence[int]) -> float:
    """Late over early."""
    early, late = early_and_late(samples)
    return late / early


def gained(samples: Sequence[int]) -> float:
    """Late less early."""
    early, late = early_and_late(samples)
    return late - early


def running_kdamonds() -> int:
    """Kernel threads of DAMON."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += (folder / "comm").read_text().startswith("kdamond.")
        except OSError:
            continue
    return found


def protected() -> list[str]:
    """Cgroups above jobs that still have a memory.min."""
    tops = [CGROUPS / "system.slice", *CGROUPS.glob("system.slice/*slurmstepd.scope")]
    return [str(top) for top in tops if (top / "memory.min").exists() and (top / "memory.min").read_text() != "0\n"]


def plans_left(stack: Stack) -> list[int]:
    """Jobs that agents still know of."""
    left: list[int] = []
    for node in stack.local_nodes:
        sample = json.loads(ask(str(stack.layout.agent_socket(node.name)), {"op": "status"})["json"])
        left += [job["key"]["job_id"] for job in sample["jobs"]]
    return left


def bad_reports(client: DecisionClient, started: set[int]) -> list[str]:
    """What is wrong with the reports of these jobs: none, or one that is not whole."""
    wrong: list[str] = []
    for job_id in sorted(started):
        try:
            reports = client.job(job_id).reports
        except TierwiseError as error:
            wrong.append(f"job {job_id}: {error}")
            continue
        if not reports:
            wrong.append(f"job {job_id}: no report")
        wrong += [f"job {job_id}: a report that is not whole" for report in reports if not report.whole]
    return wrong

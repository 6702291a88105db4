"""Where Slurm keeps a node's jobs in the cgroup tree, on v1 and v2; and how to leave nothing behind there."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from tierwise_lab.daemons import LabError, wait_until

MOUNT = Path("/sys/fs/cgroup")


def version() -> int:
    """2 on a unified hierarchy, else 1."""
    return 2 if (MOUNT / "cgroup.controllers").exists() else 1


def node_roots(node: str) -> list[Path]:
    """The directories that hold all jobs of the slurmd started as `-N node`, one per hierarchy."""
    if version() == 2:
        return [MOUNT / "system.slice" / f"{node}_slurmstepd.scope"]
    return [
        MOUNT / controller / f"slurm_{node}" for controller in ("freezer", "memory", "cpuset", "devices", "cpuacct")
    ]


def remove(node: str) -> None:
    """Kill whatever still runs in the cgroups of `node` and remove them."""
    for root in node_roots(node):
        if root.exists():
            wait_until(partial(_emptied, root), f"processes of {root} to die", 10)
            wait_until(partial(_removed, root), f"{root} to be removed", 60)


def _emptied(root: Path) -> bool:
    pids: set[int] = set()
    for procs in root.rglob("cgroup.procs"):
        try:
            pids.update(int(pid) for pid in procs.read_text().split())
        except (FileNotFoundError, OSError):
            continue  # the cgroup went away while we looked
    for pid in pids:
        if pid == os.getpid():
            raise LabError(f"this very process is in {root}: refusing to clean it up")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    _thaw(root)
    return not pids


def _thaw(root: Path) -> None:
    """A suspended job is frozen on v1: SIGKILL reaches it only after it has thawed."""
    for state in root.rglob("freezer.state"):
        try:
            state.write_text("THAWED")
        except OSError:
            continue
    for frozen in root.rglob("cgroup.freeze"):
        try:
            frozen.write_text("0")
        except OSError:
            continue


def _removed(root: Path) -> bool:
    for directory, _, _ in os.walk(root, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            continue
    return not root.exists()

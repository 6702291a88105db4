"""The cgroups of a node's jobs: who belongs to a job, and what its memory controller counts. On v1 and v2.

A cgroup that vanishes while it is read is an outcome (None, or no processes), never an exception.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from tierwise_node.kernel_files import read

MOUNT = Path("/sys/fs/cgroup")
PAGE = 4096
_JOB = re.compile(r"/job_(\d+)(?:/|$)")


@dataclass(frozen=True)
class Usage:
    """What a job holds and did. Bytes; faults and kills are counted since the cgroup was made.

    `nodes` are anonymous and shared-memory bytes per NUMA node; `limit` is None where there is none; `peak` is the
    kernel's own high-water mark, page cache included; `swapped` bytes are on a swap device; `cpu_seconds` are of all
    CPUs together, 0 where nothing counts them.
    """

    nodes: dict[int, int] = field(default_factory=dict)
    used: int = 0
    limit: int | None = None
    peak: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    oom_kills: int = 0
    suspended: bool = False
    swapped: int = 0
    cpu_seconds: float = 0.0


class JobCgroup(Protocol):
    """One job on this node."""

    @property
    def job_id(self) -> int:
        """Slurm's id of the job."""

    def usage(self, last: Usage | None = None) -> Usage | None:
        """What the job holds now; None when the cgroup is gone.

        With `last`, a recent usage, little but `nodes` is read again: a beat of the agent must cost little.
        """

    def pids(self) -> list[int]:
        """All processes of the job now."""

    def limit(self) -> int | None:
        """The job's memory limit in bytes."""


class Cgroups:
    """All job cgroups of one NodeName. `configured` is agent.cgroup; empty: found where Slurm puts them."""

    def __init__(self, node: str, configured: str = "", mount: Path = MOUNT) -> None:
        self._mount = mount
        self.version = 2 if (mount / "cgroup.controllers").exists() else 1
        places = _places(node, self.version) if not configured else [_below(Path(configured), mount, self.version)]
        self._places = [place.strip("/") for place in places]

    def jobs(self) -> dict[int, JobCgroup]:
        """The jobs that have a cgroup now."""
        base, pattern = (self._mount, "job_*") if self.version == 2 else (self._mount / "freezer", "uid_*/job_*")
        found: dict[int, JobCgroup] = {}
        for place in self._places:
            for folder in (base / place).glob(pattern):
                if match := _JOB.search(str(folder)):
                    found[int(match[1])] = self._job(int(match[1]), folder)
            if found:
                break
        return found

    def job_of(self, pid: int) -> int | None:
        """The job of this node that a process belongs to."""
        try:
            text = read(f"/proc/{pid}/cgroup")
        except OSError:
            return None
        for line in text.splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" if self.version == 2 else "freezer" in controllers.split(","):
                return self._job_in(path)
        return None

    @property
    def root(self) -> Path:
        """Where jobs are looked for first."""
        return (self._mount if self.version == 2 else self._mount / "freezer") / self._places[0]

    def _job_in(self, path: str) -> int | None:
        for place in self._places:
            if path.startswith(f"/{place}/") and (match := _JOB.search(path)):
                return int(match[1])
        return None

    def _job(self, job_id: int, folder: Path) -> JobCgroup:
        if self.version == 2:
            return V2Job(job_id, folder)
        place = folder.relative_to(self._mount / "freezer")
        return V1Job(job_id, folder, self._mount / "memory" / place, self._mount / "cpuacct" / place)


@dataclass(frozen=True)
class V2Job:
    """A job under cgroup v2: one folder for everything (Documentation/admin-guide/cgroup-v2.rst)."""

    job_id: int
    folder: Path

    def usage(self, last: Usage | None = None) -> Usage | None:
        """See JobCgroup."""
        numa = _read(self.folder, "memory.numa_stat")
        if numa is None:
            return Usage(suspended=self._suspended()) if self.folder.exists() else None
        nodes = _sum_nodes(numa, ("anon", "shmem"), 1)
        swapped = _number(_read(self.folder, "memory.swap.current")) or 0
        if last is not None:
            return replace(last, nodes=nodes, swapped=swapped)
        stat = _numbers(_read(self.folder, "memory.stat"))
        return Usage(
            nodes=nodes,
            used=_number(_read(self.folder, "memory.current")) or 0,
            limit=self.limit(),
            peak=_number(_read(self.folder, "memory.peak")) or 0,
            minor_faults=max(stat.get("pgfault", 0) - stat.get("pgmajfault", 0), 0),
            major_faults=stat.get("pgmajfault", 0),
            oom_kills=_numbers(_read(self.folder, "memory.events")).get("oom_kill", 0),
            suspended=self._suspended(),
            swapped=swapped,
            cpu_seconds=_numbers(_read(self.folder, "cpu.stat")).get("usage_usec", 0) / 1e6,
        )

    def pids(self) -> list[int]:
        """See JobCgroup."""
        return list(_pids(self.folder))

    def limit(self) -> int | None:
        """See JobCgroup."""
        return _number(_read(self.folder, "memory.max"))

    def _suspended(self) -> bool:
        return any(_numbers(_read(folder, "cgroup.events")).get("frozen") for folder in _subtree(self.folder))


@dataclass(frozen=True)
class V1Job:
    """A job under cgroup v1: processes by the freezer, bytes by the memory controller, CPU time by cpuacct."""

    job_id: int
    freezer: Path
    memory: Path
    cpuacct: Path

    def usage(self, last: Usage | None = None) -> Usage | None:
        """See JobCgroup. v1 counts locked memory apart: taken as anonymous, which a job's is."""
        numa = _read(self.memory, "memory.numa_stat")
        if numa is None:
            return Usage(suspended=self._suspended()) if self.freezer.exists() else None
        nodes = _sum_nodes(numa, ("hierarchical_anon", "hierarchical_unevictable"), PAGE)
        if last is not None:
            return replace(last, nodes=nodes)
        stat = _numbers(_read(self.memory, "memory.stat"))
        return Usage(
            nodes=nodes,
            used=_number(_read(self.memory, "memory.usage_in_bytes")) or 0,
            limit=self.limit(),
            peak=_number(_read(self.memory, "memory.max_usage_in_bytes")) or 0,
            minor_faults=max(stat.get("total_pgfault", 0) - stat.get("total_pgmajfault", 0), 0),
            major_faults=stat.get("total_pgmajfault", 0),
            oom_kills=_numbers(_read(self.memory, "memory.oom_control")).get("oom_kill", 0),
            suspended=self._suspended(),
            swapped=stat.get("total_swap", 0),
            cpu_seconds=(_number(_read(self.cpuacct, "cpuacct.usage")) or 0) / 1e9,
        )

    def pids(self) -> list[int]:
        """See JobCgroup."""
        return list(_pids(self.freezer))

    def limit(self) -> int | None:
        """See JobCgroup. No limit is a number near 2^63 on v1."""
        limit = _number(_read(self.memory, "memory.limit_in_bytes"))
        return None if limit is None or limit >= 1 << 62 else limit

    def _suspended(self) -> bool:
        return any((_read(folder, "freezer.state") or "").strip() == "FROZEN" for folder in _subtree(self.freezer))


def _places(node: str, version: int) -> list[str]:
    """Where Slurm puts the jobs of a NodeName, the name of several slurmds' builds first."""
    if version == 2:
        return [f"system.slice/{node}_slurmstepd.scope", "system.slice/slurmstepd.scope"]
    return [f"slurm_{node}", "slurm"]


def _below(configured: Path, mount: Path, version: int) -> str:
    """The configured folder without the mount point, and on v1 without the controller."""
    parts = configured.relative_to(mount).parts
    return "/".join(parts if version == 2 else parts[1:])


def _subtree(folder: Path) -> Iterator[str]:
    return (place for place, _, _ in os.walk(folder))


def _pids(folder: Path) -> Iterator[int]:
    for place in _subtree(folder):
        yield from map(int, (_read(place, "cgroup.procs") or "").split())


def _read(folder: Path | str, name: str) -> str | None:
    """None: the file, or its cgroup, is gone (ENODEV when it goes between open and read)."""
    try:
        return read(f"{folder}/{name}")
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None


def _numbers(text: str | None) -> dict[str, int]:
    """`name value` lines."""
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _sum_nodes(text: str, names: tuple[str, ...], unit: int) -> dict[int, int]:
    """memory.numa_stat: `anon N0=1 N1=2` (v2, bytes) or `hierarchical_anon=3 N0=1 N1=2` (v1, pages)."""
    total: dict[int, int] = {}
    for line in text.splitlines():
        name, *rest = line.split()
        if name.partition("=")[0] in names:
            for item in rest:
                node, _, value = item.partition("=")
                total[int(node[1:])] = total.get(int(node[1:]), 0) + int(value) * unit
    return total

"""What of the host's load is Slurm's own: the counters of the cgroups in which all slurmds here put their jobs.

Read at their root, which goes on counting for jobs that have ended: a job shorter than the pause between two
measurements must not look like somebody else's load.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tierwise_node.cgroups import MOUNT
from tierwise_node.kernel_files import read

NS = 1_000_000_000
US = 1_000_000


class SlurmUse:
    """The Slurm of this host, of all its NodeNames; `configured` is agent.cgroup."""

    def __init__(self, configured: str = "", mount: Path = MOUNT) -> None:
        self._mount = mount
        self._v2 = (mount / "cgroup.controllers").exists()
        self._configured = configured

    def cpu_seconds(self) -> float | None:
        """CPU time since the cgroups were made; None: nothing counts it (no cpuacct controller on v1)."""
        if self._v2:
            spent = [value / US for place in self._places("") for value in _numbers(place, "cpu.stat", ("usage_usec",))]
        else:
            spent = [int(text) / NS for place in self._places("cpuacct") if (text := _read(place, "cpuacct.usage"))]
        return sum(spent) if spent else None

    def memory_bytes(self) -> int:
        """Anonymous and shared memory of all jobs now: page cache can be had back and counts for nobody."""
        names = ("anon", "shmem") if self._v2 else ("total_rss", "total_shmem")
        places = self._places("" if self._v2 else "memory")
        return sum(value for place in places for value in _numbers(place, "memory.stat", names))

    def _places(self, controller: str) -> Iterator[Path]:
        if self._configured:
            parts = Path(self._configured).relative_to(self._mount).parts
            yield self._mount.joinpath(*(parts if self._v2 else (controller, *parts[1:])))
        elif self._v2:
            yield from self._mount.glob("system.slice/*slurmstepd.scope")
        else:
            yield from (self._mount / controller).glob("slurm*")


def _numbers(place: Path, file: str, names: Iterable[str]) -> Iterator[int]:
    wanted = set(names)
    for line in _read(place, file).splitlines():
        name, _, value = line.partition(" ")
        if name in wanted:
            yield int(value)


def _read(place: Path, name: str) -> str:
    try:
        return read(f"{place}/{name}")
    except OSError:  # the cgroup has gone
        return ""

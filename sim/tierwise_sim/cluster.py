"""Simulated nodes: what they are made of, what others do on them, and what is left for a job.

A resource is shared as its hardware shares it: CPUs by free cores, a GPU by time slices among those who use it, a link
by flows. `Background` is chapter 3's background job: 10 % of the CPUs, 20 % of a GPU, 4 GB of memory, 2.6 GB of GPU
memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tierwise.telemetry import Hardware, Utilisation

GB = 10**9
GBIT = 125_000_000
SERVER = Hardware(24, "Xeon E5-2670 v3", 128 * GB, {"eth0": GBIT}, ("P100", "P100"), 32 * GB)
"""One of chapter 3's eight servers; the link as its network experiments limit it."""


@dataclass(frozen=True)
class Background:
    """What one background job uses of a node, as shares."""

    cpu: float = 0.10
    gpu: float = 0.20
    memory: float = 4 * GB / SERVER.memory
    gpu_memory: float = 2.6 * GB / SERVER.gpu_memory
    network: float = 0.0


@dataclass
class Node:
    """One node. `added_latency` in seconds; `jobs` are the names of Slurm's own jobs on it, one a GPU."""

    name: str
    hardware: Hardware = SERVER
    background: list[Background] = field(default_factory=list)
    added_latency: float = 0.0
    jobs: list[str] = field(default_factory=list)
    own: dict[str, Utilisation] = field(default_factory=dict)
    """What each of Slurm's jobs uses."""

    @property
    def slots(self) -> int:
        """Jobs that still fit: one for each GPU."""
        return len(self.hardware.gpus) - len(self.jobs)

    def others(self) -> Utilisation:
        """What is in use that Slurm did not place."""
        return _sum([Utilisation(one.cpu, one.memory, one.network, one.gpu, one.gpu_memory) for one in self.background])

    def total(self) -> Utilisation:
        """Everything that is in use."""
        return _sum([self.others(), *self.own.values()])

    def cores(self) -> float:
        """CPUs for one more job; a runnable process is never starved of all of them."""
        rivals = len(self.background) + max(len(self.jobs), 1)
        return self.hardware.cpus * max(1.0 - self.others().cpu, 1.0 / rivals)

    def gpu(self) -> float:
        """The share of its GPU that a job gets: what others leave, or an equal slice of time where they want it all."""
        return _left([one.gpu for one in self.background])

    def bandwidth(self) -> float:
        """Bytes per second that a job gets of the link."""
        return self.hardware.network * _left([one.network for one in self.background if one.network])


def _left(shares: Sequence[float]) -> float:
    return max(1.0 - sum(shares), 1.0 / (1 + len(shares)))


def _sum(uses: Sequence[Utilisation]) -> Utilisation:
    return Utilisation(
        min(sum(use.cpu for use in uses), 1.0),
        min(sum(use.memory for use in uses), 1.0),
        min(sum(use.network for use in uses), 1.0),
        min(sum(use.gpu for use in uses), 1.0),
        min(sum(use.gpu_memory for use in uses), 1.0),
    )

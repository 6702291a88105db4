"""One measurement: what the node was busy with since the last one, and what of it was not Slurm's.

The kernel counts CPU and memory by cgroup, traffic not. What can't be told apart is taken, while jobs run, as it was
before they came.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tierwise.telemetry import LinkTraffic, Measurement, Utilisation
from tierwise.tiers import Tier
from tierwise_node.telemetry.gpus import Gpus
from tierwise_node.telemetry.hardware import Machine
from tierwise_node.telemetry.slurm_use import SlurmUse

_MOST_RATE = 10**14


@dataclass(frozen=True)
class _Counters:
    """What only grows: seconds of CPU, bytes by link."""

    clock: float
    busy: float
    slurm: float | None
    links: dict[str, tuple[int, int]]


class Meters:
    """Measures from call to call. `has_jobs` says whether jobs run here now."""

    def __init__(self, machine: Machine, gpus: Gpus, slurm: SlurmUse, has_jobs: Callable[[], bool]) -> None:
        self._machine, self._gpus, self._slurm, self._has_jobs = machine, gpus, slurm, has_jobs
        self._before = self._counters()
        self._had_jobs = has_jobs()
        self._alone: dict[str, float] = {}
        """What was in use when no job ran, of what can't be told apart."""

    def measure(self, tiers: tuple[Tier, ...]) -> Measurement:
        """The means since the last call."""
        now, before = self._counters(), self._before
        seconds = max(now.clock - before.clock, 0.001)
        jobs = self._had_jobs or self._has_jobs()
        self._before, self._had_jobs = now, self._has_jobs()
        cpu = _share((now.busy - before.busy) / seconds, psutil.cpu_count() or 1)
        links = {name: _traffic(now.links[name], before.links.get(name), seconds) for name in now.links}
        network = self._network(links)
        memory = psutil.virtual_memory()
        used = memory.total - memory.available
        gpu = self._gpus.use()
        return Measurement(
            time=time.time_ns(),
            seconds=min(seconds, 86400.0),
            total=Utilisation(cpu, _share(used, memory.total), network, gpu.busy, gpu.memory),
            others=Utilisation(
                self._others_cpu(cpu, now, before, jobs),
                _share(used - self._slurm.memory_bytes(), memory.total),
                self._without_jobs("network", network, jobs),
                gpu.busy_others,
                gpu.memory_others,
            ),
            links=links,
            tiers={tier.name: _share(tier.capacity - tier.free, tier.capacity) for tier in tiers},
        )

    def _others_cpu(self, cpu: float, now: _Counters, before: _Counters, jobs: bool) -> float:
        if now.slurm is None:
            return self._without_jobs("cpu", cpu, jobs)
        slurms = (now.slurm - (before.slurm or 0.0)) / max(now.clock - before.clock, 0.001)
        return min(max(cpu - max(slurms, 0.0) / (psutil.cpu_count() or 1), 0.0), 1.0)

    def _without_jobs(self, name: str, share: float, jobs: bool) -> float:
        if not jobs:
            self._alone[name] = share
        return min(share, self._alone.get(name, 0.0))

    def _network(self, links: dict[str, LinkTraffic]) -> float:
        """The share of the busiest link whose speed is known, in its busier direction."""
        speeds = self._machine.links()
        shares = [_share(max(one.received, one.sent), speeds.get(name, 0)) for name, one in links.items()]
        return max(shares, default=0.0)

    def _counters(self) -> _Counters:
        times = psutil.cpu_times()
        names = self._machine.links()
        traffic = psutil.net_io_counters(pernic=True)
        return _Counters(
            time.monotonic(),
            sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
            - getattr(times, "guest_nice", 0.0),
            self._slurm.cpu_seconds(),
            {name: (traffic[name].bytes_recv, traffic[name].bytes_sent) for name in names if name in traffic},
        )  # fmt: skip


def _traffic(now: tuple[int, int], before: tuple[int, int] | None, seconds: float) -> LinkTraffic:
    """Rates; a counter that went back began anew with its driver."""
    if before is None:
        return LinkTraffic(0, 0)
    rates = (min(int(max(new - old, 0) / seconds), _MOST_RATE) for new, old in zip(now, before, strict=True))
    return LinkTraffic(*rates)


def _share(part: float, whole: float) -> float:
    return round(min(max(part / whole, 0.0), 1.0), 4) if whole > 0 else 0.0

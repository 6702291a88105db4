"""What the node is made of: read anew for each delivery, since memory, links and GPUs come and go."""

import os
import re
from pathlib import Path

import psutil

from tierwise.telemetry import Hardware
from tierwise_node.telemetry.gpus import Gpus

_BITS = 8
_MEGA = 1_000_000


class Machine:
    """The host below /sys and /proc."""

    def __init__(self, gpus: Gpus, sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._gpus, self._net = gpus, sysfs / "class/net"
        self._model = _model(proc / "cpuinfo")

    def hardware(self, memory: int) -> Hardware:
        """What there is now; `memory` is that of all tiers, in bytes."""
        gpus = self._gpus.installed()
        return Hardware(
            cpus=os.cpu_count() or 1,
            cpu_model=self._model,
            memory=memory,
            links=self.links(),
            gpus=gpus.models[:64],
            gpu_memory=gpus.memory,
        )

    def links(self) -> dict[str, int]:
        """The speeds of the links that are up, in bytes per second; 0 where the kernel doesn't know.

        Links with a device behind them; where there is none (a container), every link but the loopback.
        """
        speeds = {
            name: max(stats.speed, 0) * _MEGA // _BITS
            for name, stats in psutil.net_if_stats().items()
            if stats.isup and "loopback" not in stats.flags and len(name) <= 32
        }
        real = {name: speed for name, speed in speeds.items() if (self._net / name / "device").exists()}
        return dict(sorted((real or speeds).items())[:64])


def _model(cpuinfo: Path) -> str:
    try:
        found = re.search(r"^(?:model name|Model|cpu)\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return (found[1] if found else "unknown")[:128]

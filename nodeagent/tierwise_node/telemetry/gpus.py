"""GPUs through NVML, where there are any: models, memory, and how busy they are with what.

`pynvml` (nvidia-ml-py) is loaded only where a driver is: a node without GPUs pays nothing. What a card does not
support (its process list, on some) is an outcome, not an error.
"""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_DRIVER = Path("/proc/driver/nvidia/version")
_PERCENT = 100.0


@dataclass(frozen=True)
class Installed:
    """The models of the GPUs, and the bytes that they have together."""

    models: tuple[str, ...] = ()
    memory: int = 0


@dataclass(frozen=True)
class GpuUse:
    """Shares over all GPUs: busy and memory, in all and without what jobs of Slurm use."""

    busy: float = 0.0
    memory: float = 0.0
    busy_others: float = 0.0
    memory_others: float = 0.0


def find_nvml() -> Any | None:
    """The initialised NVML, or None where there is no driver or no pynvml."""
    if not _DRIVER.exists():
        return None
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception as error:  # NVMLError is only known once the module is
        log.warning("the GPUs of this node are not measured: %s (pip install tierwise[gpu] brings pynvml)", error)
        return None
    return nvml


class Gpus:
    """All GPUs of this host. `is_job` says whether a process belongs to a job of Slurm."""

    def __init__(self, nvml: Any | None, is_job: Callable[[int], bool]) -> None:
        self._nvml, self._is_job = nvml, is_job
        self._seen: dict[int, int] = {}
        """GPU to the time stamp (µs, its own clock) up to which its processes' samples have been read."""

    def installed(self) -> Installed:
        """What there is."""
        handles = self._handles()
        models = tuple(self._name(handle) for handle in handles)
        return Installed(models, sum(int(self._ask("nvmlDeviceGetMemoryInfo", handle).total) for handle in handles))

    def use(self) -> GpuUse:
        """How busy they are now; means over all GPUs for time, sums for memory."""
        handles = self._handles()
        if not handles:
            return GpuUse()
        memory = [self._ask("nvmlDeviceGetMemoryInfo", handle) for handle in handles]
        total = max(sum(int(one.total) for one in memory), 1)
        used = sum(int(one.used) for one in memory)
        in_jobs = min(sum(self._jobs_memory(handle) for handle in handles), used)
        busy = [self._ask("nvmlDeviceGetUtilizationRates", handle).gpu / _PERCENT for handle in handles]
        jobs = [self._jobs_busy(number, handle) for number, handle in enumerate(handles)]
        others = [max(all_of_it - of_jobs, 0.0) for all_of_it, of_jobs in zip(busy, jobs, strict=True)]
        return GpuUse(
            busy=min(sum(busy) / len(busy), 1.0),
            memory=min(used / total, 1.0),
            busy_others=min(sum(others) / len(others), 1.0),
            memory_others=min((used - in_jobs) / total, 1.0),
        )

    def _jobs_memory(self, handle: Any) -> int:
        processes = self._try("nvmlDeviceGetComputeRunningProcesses", handle) or ()
        return sum(int(one.usedGpuMemory or 0) for one in processes if self._is_job(one.pid))

    def _jobs_busy(self, number: int, handle: Any) -> float:
        """The share of the time in which processes of jobs kept a GPU busy, by the driver's own newest samples."""
        samples = self._try("nvmlDeviceGetProcessUtilization", handle, self._seen.get(number, 0)) or ()
        newest = {one.pid: one for one in sorted(samples, key=lambda one: int(one.timeStamp))}
        self._seen[number] = max((int(one.timeStamp) for one in samples), default=self._seen.get(number, 0))
        return sum(float(one.smUtil) for one in newest.values() if self._is_job(one.pid)) / _PERCENT

    def _handles(self) -> list[Any]:
        if self._nvml is None:
            return []
        return [self._ask("nvmlDeviceGetHandleByIndex", number) for number in range(self._ask("nvmlDeviceGetCount"))]

    def _name(self, handle: Any) -> str:
        name = self._ask("nvmlDeviceGetName", handle)
        return name.decode() if isinstance(name, bytes) else str(name)  # bytes up to pynvml 11.4

    def _ask(self, function: str, *arguments: Any) -> Any:
        return getattr(self._nvml, function)(*arguments)

    def _try(self, function: str, *arguments: Any) -> Any | None:
        """None: the card can't say, or has nothing to say (NOT_FOUND: no sample since the last look)."""
        assert self._nvml is not None
        try:
            return self._ask(function, *arguments)
        except self._nvml.NVMLError:
            return None

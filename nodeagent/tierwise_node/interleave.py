"""The host's weights for weighted interleave (since Linux 6.9)."""

import errno
from collections.abc import Mapping
from pathlib import Path

from tierwise_node.host_settings import HostSettings

SYSFS = Path("/sys/kernel/mm/mempolicy/weighted_interleave")
LOCK = Path("/run/lock/tierwise-interleave")
_AUTO = ("auto", "__auto_type")
"""The kernel's own mode (since 6.16), which writing a weight ends; named so by an accident of C's `auto`."""


class InterleaveWeights(HostSettings):
    """Owns the weights between `take` and `restore`."""

    def __init__(self, sysfs: Path = SYSFS, lock: Path = LOCK) -> None:
        super().__init__(sysfs, lock, "the interleave weights")

    def take(self, weights: Mapping[int, int]) -> None:
        """Set the weights, node by node, unless the kernel has none or another agent owns them."""
        if not self._sysfs.is_dir():
            self.state = "the kernel has no weighted interleave (before 6.9)"
        elif self._acquire():
            for node, weight in weights.items():
                self._write(f"node{node}", str(weight))
            self.state = "weights " + ", ".join(f"node{node}={weight}" for node, weight in weights.items())

    def _current(self) -> dict[str, str]:
        return {path.name: path.read_text().strip() for path in self._sysfs.iterdir()}

    def _rank(self, name: str) -> int:
        return int(name in _AUTO)  # a weight written after `auto` would end it

    def _may_refuse(self, name: str, error: OSError) -> bool:
        # `auto` where the kernel knows no bandwidths: its own weights are those just written
        return name in _AUTO and error.errno == errno.ENODEV

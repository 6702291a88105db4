"""The host's weights for weighted interleave (since Linux 6.9): owned, set and given back by one agent.

The weights belong to the host, several agents may run on it: whoever holds the lock file owns them. The file holds
what the kernel had before, so that the next owner gives that back even when the last one was killed.
"""

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)
SYSFS = Path("/sys/kernel/mm/mempolicy/weighted_interleave")
LOCK = Path("/run/lock/tierwise-interleave")
_AUTO = ("auto", "__auto_type")
"""The kernel's own mode (since 6.16), which writing a weight ends; named so by an accident of C's `auto`."""


class InterleaveWeights:
    """Owns the weights between `take` and `restore`. `state` says for doctor how that went."""

    def __init__(self, sysfs: Path = SYSFS, lock: Path = LOCK) -> None:
        self._sysfs, self._lock = sysfs, lock
        self._file: int | None = None
        self.state = "not set yet"

    @property
    def owned(self) -> bool:
        """Whether this agent set the weights."""
        return self._file is not None

    def take(self, weights: Mapping[int, int]) -> None:
        """Set the weights, node by node, unless the kernel has none or another agent owns them."""
        if not self._sysfs.is_dir():
            self.state = "the kernel has no weighted interleave (before 6.9)"
            return
        if self._file is None:
            self._acquire()
        if self._file is not None:
            for node, weight in weights.items():
                self._write(f"node{node}", str(weight))
            self.state = "weights " + ", ".join(f"node{node}={weight}" for node, weight in weights.items())

    def restore(self) -> None:
        """Give the kernel its own weights back."""
        if self._file is None:
            return
        self._put_back(self._file)
        os.close(self._file)
        self._file = None

    def _acquire(self) -> None:
        """Get the lock; keep what the kernel has now, unless a killed owner left that already."""
        try:
            file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            self.state = f"could not open {self._lock}: {error.strerror}"
            return
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(file)  # everybody may write to /run/lock, and what it says would be written as root
            self.state = f"{self._lock} is of uid {status.st_uid}, not ours: remove it"
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            self.state = "another agent on this host owns the weights"
            return
        if not os.pread(file, 1, 0):
            os.pwrite(file, msgspec.json.encode(self._current()), 0)
        self._file = file

    def _current(self) -> dict[str, str]:
        return {path.name: path.read_text().strip() for path in self._sysfs.iterdir()}

    def _put_back(self, file: int) -> None:
        try:
            before = msgspec.json.decode(os.pread(file, 65536, 0), type=dict[str, str])
        except msgspec.DecodeError as error:
            log.error("%s is damaged (%s): the interleave weights stay as they are", self._lock, error)
            before = {}
        for name in sorted(before.keys() & self._current(), key=lambda name: name in _AUTO):
            self._write(name, before[name])  # `auto` last: a weight written after it would end it
        os.ftruncate(file, 0)

    def _write(self, name: str, value: str) -> None:
        try:
            (self._sysfs / name).write_text(value)
        except OSError as error:
            # ENODEV for `auto`: the kernel knows no bandwidths, so its own weights are those just written
            level = logging.INFO if name in _AUTO and error.errno == errno.ENODEV else logging.WARNING
            log.log(level, "could not write %s to %s: %s", value, self._sysfs / name, error.strerror)

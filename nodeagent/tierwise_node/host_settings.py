"""Settings of the kernel that belong to the whole host, files of one folder: owned, set and given back by one agent.

Several agents may run on a host: whoever holds the lock file owns the settings. The file holds what the kernel had
before, so that the next owner gives that back even when the last one was killed.
"""

import asyncio
import fcntl
import logging
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)


class HostSettings(ABC):
    """Owned from the first `_acquire` that succeeds to `restore`. `state` says for doctor how that went."""

    def __init__(self, sysfs: Path, lock: Path, what: str) -> None:
        self._sysfs, self._lock, self._what = sysfs, lock, what
        self._file: int | None = None
        self.state = "not set yet"

    @property
    def owned(self) -> bool:
        """Whether this agent owns the settings."""
        return self._file is not None

    async def keep(self, take: Callable[[], None], pause: float) -> None:
        """`take` them; where another agent owns them, again every `pause` seconds until it has stopped."""
        take()
        while not self.owned:
            await asyncio.sleep(pause)
            take()

    def leave(self, why: str) -> None:
        """Don't own them: as `restore`, and say why."""
        self.state = why
        self.restore()

    def restore(self) -> None:
        """Give the kernel its own settings back."""
        if self._file is None:
            return
        self._put_back(self._file)
        os.close(self._file)
        self._file = None

    @abstractmethod
    def _current(self) -> dict[str, str]:
        """What the kernel has now, by name."""

    def _write(self, name: str, value: str) -> None:
        """Set one of them; what can't be set is logged."""
        try:
            (self._sysfs / name).write_text(value)
        except OSError as error:
            level = logging.INFO if self._may_refuse(name, error) else logging.WARNING
            log.log(level, "could not write %s to %s: %s", value, self._sysfs / name, error.strerror)

    def _may_refuse(self, name: str, error: OSError) -> bool:
        """Whether the kernel does so on some hosts, and nobody has to do anything."""
        del name, error
        return False

    def _acquire(self) -> bool:
        """Own the settings; keep what the kernel has now, unless a killed owner left that already."""
        if self._file is not None:
            return True
        try:
            file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            self.state = f"could not open {self._lock}: {error.strerror}"
            return False
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(file)  # everybody may write to /run/lock, and what it says would be written as root
            self.state = f"{self._lock} is of uid {status.st_uid}, not ours: remove it"
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            self.state = f"another agent on this host owns {self._what}"
            return False
        if not os.pread(file, 1, 0):
            os.pwrite(file, msgspec.json.encode(self._current()), 0)
        self._file = file
        return True

    def _put_back(self, file: int) -> None:
        try:
            before = msgspec.json.decode(os.pread(file, 65536, 0), type=dict[str, str])
        except msgspec.DecodeError as error:
            log.error("%s is damaged (%s): %s stay as they are", self._lock, error, self._what)
            before = {}
        for name in sorted(before.keys() & self._current(), key=self._rank):
            self._write(name, before[name])
        os.ftruncate(file, 0)

    def _rank(self, name: str) -> int:
        """What is put back later than others has a greater one."""
        del name
        return 0

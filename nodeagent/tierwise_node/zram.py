"""A swap device in compressed memory (zram) of the agent's own: made, recognised after a kill, taken away.

Documentation/admin-guide/blockdev/zram.rst. A file tells which device is ours, and the device's swap header bears the
same UUID: another's is never touched, whatever number it has. Devices come and go by util-linux's commands: a swapoff
that memory runs out for ends its own process, not the agent.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tierwise_node import state_file

log = logging.getLogger(__name__)
KIB = 1024
UUID_AT = 1036
"""Where in a swap device's first page its UUID is (linux/swap.h: union swap_header)."""
PRIORITY = 100
"""Before what else comes later: others' priorities are negative by default."""
REMOVED_WITHIN = 2.0
"""Seconds for which a device may be busy still: udev looks at what has changed."""


class _Left(msgspec.Struct):
    """What a file tells of our device. `limit`: see Zram.limit."""

    number: int
    uuid: str
    limit: str = ""


@dataclass(frozen=True)
class Held:
    """Bytes that are swapped out there, the memory that they take compressed, and how many it may hold."""

    held: int
    takes: int
    size: int


class Zram:
    """`state` is the file that outlives the agent; `size`: how many bytes of pages it may hold, 0: it is to be none."""

    def __init__(self, state: Path, size: int, sysfs: Path = Path("/sys"), swaps: Path = Path("/proc/swaps")) -> None:
        self._state, self.size, self._sysfs, self._swaps = state, size, sysfs, swaps
        self._left = self._read()
        self._ours = self._is_ours()
        self.problem = ""
        """Why there is none though there should be; empty: it is on, or none is wanted."""

    @property
    def on(self) -> bool:
        """Whether our swap is in use."""
        return self._ours and self._device() in self._active()

    @property
    def limit(self) -> str:
        """A word that is kept with the device until it is given back."""
        return self._left.limit if self._left else ""

    @limit.setter
    def limit(self, word: str) -> None:
        if self._left is not None and self._left.limit != word:
            self._left.limit = word
            with contextlib.suppress(OSError):  # a full disk: only who comes after a kill would miss it
                self._write()

    def take(self) -> None:
        """Have our swap on: what an agent before left, if it is as it should be, else a new one."""
        if self._ours and (self._now("disksize") != self.size or not self.on):
            self.give_back()
        if not self.size or self.on:
            return
        self.problem = self._obstacle()
        if not self.problem:
            try:
                self._make()
            except (OSError, subprocess.CalledProcessError) as error:
                detail = getattr(error, "stderr", "") or error
                self.problem = f"no zram could be set up: {detail}".strip()
                if self._left is not None:
                    self._removed()
                self._forget()
        if self.problem:
            log.error("cold memory is not paged out: %s", self.problem)

    def give_back(self) -> bool:
        """Take our device away, if there is one. What is swapped out comes back first; where that finds no room, all
        stays as it is: False."""
        if not self._ours:
            self._forget()
            return True
        if self.on:
            done = subprocess.run(["swapoff", self._device()], capture_output=True, text=True, check=False)
            if done.returncode:
                log.error(
                    "%s stays: %s", self._device(), done.stderr.strip() or f"swapoff ended with {done.returncode}"
                )
                return False
        if not self._removed():
            log.error("%s, which is unused, could not be removed", self._device())
        self._forget()
        return True

    def held(self) -> Held:
        """What it holds now."""
        fields = self._active().get(self._device(), (0, 0))
        try:
            takes = int((self._folder() / "mm_stat").read_text().split()[2])
        except (OSError, IndexError):
            takes = 0
        return Held(fields[1], takes, fields[0])

    # --- making and removing ------------------------------------------------------------------------------------------

    def _obstacle(self) -> str:
        if not (self._sysfs / "class/zram-control").is_dir():
            return "the kernel's module zram is not loaded"
        if others := sorted(self._active()):
            return f"there is other swap, {others[0]}: jobs' pages could go there as well"
        return ""

    def _make(self) -> None:
        number = int((self._sysfs / "class/zram-control/hot_add").read_text())
        self._left = _Left(number, str(uuid.uuid4()))
        self._write()
        (self._folder() / "disksize").write_text(str(self.size))
        for command in (
            ["mkswap", "-U", self._left.uuid, self._device()],
            ["swapon", "-p", str(PRIORITY), self._device()],
        ):
            subprocess.run(command, capture_output=True, text=True, check=True)
        self._ours = True
        log.info("%s takes up to %d MiB of cold pages", self._device(), self.size >> 20)

    def _removed(self) -> bool:
        assert self._left is not None
        deadline = time.monotonic() + REMOVED_WITHIN
        while True:
            try:
                (self._folder() / "reset").write_text("1")
                (self._sysfs / "class/zram-control/hot_remove").write_text(str(self._left.number))
                return True
            except OSError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)

    def _is_ours(self) -> bool:
        """Whether the device of the file is there and bears its UUID."""
        if self._left is None:
            return False
        try:
            with open(self._device(), "rb") as device:
                device.seek(UUID_AT)
                return device.read(16) == uuid.UUID(self._left.uuid).bytes
        except OSError:  # the host was booted since
            return False

    def _device(self) -> str:
        return f"/dev/zram{self._left.number}" if self._left else ""

    def _folder(self) -> Path:
        return self._sysfs / "block" / Path(self._device()).name

    def _now(self, name: str) -> int:
        return int((self._folder() / name).read_text())

    def _active(self) -> dict[str, tuple[int, int]]:
        """Swap that is on: size and used bytes by device."""
        try:
            rows = [line.split() for line in self._swaps.read_text().splitlines()[1:]]
        except OSError:  # a kernel without swap
            return {}
        return {row[0]: (int(row[2]) * KIB, int(row[3]) * KIB) for row in rows}

    # --- what outlives the agent --------------------------------------------------------------------------------------

    def _read(self) -> _Left | None:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=_Left)
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self) -> None:
        state_file.replace(self._state, self._left)

    def _forget(self) -> None:
        self._left, self._ours = None, False
        with contextlib.suppress(OSError):
            self._state.unlink()

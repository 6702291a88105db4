"""One background process with a pid file that survives its starter, so that a later run can end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from tierwise_lab import accounts

T = TypeVar("T")
POLL_S, LONGEST_POLL_S, SLOWER = 0.02, 0.25, 1.2


class LabError(Exception):
    """The lab could not do what was asked; the message says what was tried, and where to look."""


def pauses() -> Iterator[float]:
    """How long to sleep before each further look: longer and longer, so that who waits is in nobody's way."""
    pause = POLL_S
    while True:
        yield pause
        pause = min(pause * SLOWER, LONGEST_POLL_S)


def wait_until(condition: Callable[[], T], what: str, timeout: float) -> T:
    """Poll `condition` until it is true and return its value; LabError naming `what` at the deadline."""
    deadline, sleeps = time.monotonic() + timeout, pauses()
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout:g} s")
        time.sleep(next(sleeps))
    return value


def start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat: with the pid it names a process for good. None if gone or a zombie."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else rest[18]


@dataclass
class Daemon:
    """A process in the foreground of its own session; its identity is in `pid_file`.

    What it prints goes to `output`, by default the same file as its `log`.
    """

    name: str
    argv: Sequence[str]
    pid_file: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "root"
    output: Path | None = None

    def start(self) -> None:
        """Start it unless it runs already. Returns at once; the caller knows what readiness looks like."""
        if self.running():
            return
        with (self.output or self.log).open("ab") as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=dict(self.env),
                start_new_session=True,
                **accounts.identity(self.user),
            )
        self.pid_file.write_text(f"{self._child.pid} {start_time(self._child.pid)}\n")

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return running_pid(self.pid_file)

    def running(self) -> bool:
        return self.pid is not None

    def stop(self, timeout: float = 30) -> None:
        """SIGTERM, and SIGKILL for one that does not end within `timeout` seconds."""
        stop_by_pid_files([self.pid_file], timeout)
        self._reap()

    def kill9(self) -> None:
        """End it as a crash would: SIGKILL, and wait until it is gone."""
        if _signal(self.pid_file, signal.SIGKILL):
            wait_until(lambda: not self.running(), f"{self.name} to die", 60)
        self._reap()

    def text(self) -> str:
        """Everything it has logged; what it printed if it ended before it could log."""
        told = self.log if self.log.exists() or self.output is None else self.output
        return told.read_text(errors="replace") if told.exists() else ""

    def _reap(self) -> None:
        child = getattr(self, "_child", None)
        if child is not None:
            child.wait()


def running_pid(pid_file: Path) -> int | None:
    """The pid in `pid_file` if that very process still runs: a reused pid has another start time."""
    try:
        pid, started = pid_file.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if start_time(int(pid)) == started else None


def stop_by_pid_files(pid_files: Sequence[Path], timeout: float = 10) -> None:
    """SIGTERM the processes of `pid_files`, SIGKILL what runs on after `timeout` seconds; remove the files."""
    running = [path for path in pid_files if _signal(path, signal.SIGTERM)]
    deadline = time.monotonic() + timeout
    for path in running:
        gone = partial(_gone, path)
        try:
            wait_until(gone, f"{path.name} to end", max(0, deadline - time.monotonic()))
        except LabError:
            _signal(path, signal.SIGKILL)
            wait_until(gone, f"{path.name} to die of SIGKILL", 60)
    for path in pid_files:
        path.unlink(missing_ok=True)


def _gone(pid_file: Path) -> bool:
    return running_pid(pid_file) is None


def _signal(pid_file: Path, number: int) -> bool:
    """Send the signal if the process of `pid_file` still runs; False if it doesn't."""
    pid = running_pid(pid_file)
    try:
        if pid is not None:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    return pid is not None

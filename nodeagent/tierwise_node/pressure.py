"""The kernel's word that tasks wait for memory: a PSI trigger (Documentation/accounting/psi.rst)."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path

PSI = Path("/proc/pressure/memory")
TRIGGER = b"some 100000 2000000\0"
"""Tasks have waited for memory during 100 ms of 2 s: a shorter window would need CAP_SYS_RESOURCE. The kernel
overwrites the last byte that it is given."""


class Pressure:
    """Calls `told` when there is pressure. Without PSI it says so in `problem`, and watermarks have to do."""

    def __init__(self, told: Callable[[], None], psi: Path = PSI) -> None:
        self.problem = ""
        self._told = told
        self._file = self._epoll = -1
        try:
            self._file = os.open(psi, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._file, TRIGGER)
        except OSError as error:
            self.problem = f"no PSI trigger on {psi}: {error.strerror}"
            self.stop()
            return
        # asyncio waits for readable files only, a trigger is urgent data; an epoll of it is readable
        epoll = select.epoll()
        epoll.register(self._file, select.EPOLLPRI | select.EPOLLERR)
        self._watch = epoll
        self._epoll = epoll.fileno()
        asyncio.get_running_loop().add_reader(self._epoll, self._ready)

    def stop(self) -> None:
        """Take the trigger away."""
        if self._epoll >= 0:
            asyncio.get_running_loop().remove_reader(self._epoll)
            self._watch.close()
        if self._file >= 0:
            os.close(self._file)
        self._file = self._epoll = -1

    def _ready(self) -> None:
        for _, happened in self._watch.poll(0):
            if happened & select.EPOLLERR:  # the trigger's monitor is gone
                self.problem = "the kernel took the PSI trigger away"
                self.stop()
                return
            self._told()

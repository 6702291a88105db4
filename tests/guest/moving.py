"""Programs whose memory is used as a test says, and where their pages are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from handmade import JobCgroups

from tierwise.units import MIB
from tierwise_node import pages

USER = """
import mmap, os, select, sys
size, hot, at = (int(word) << 20 for word in sys.argv[1:4])
os.sched_setaffinity(0, {0})
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, size, 4096):
    held[page] = 1
import ctypes
print(ctypes.addressof(ctypes.c_char.from_buffer(held)), flush=True)
while True:
    held[at:at + hot:4096] = b"1" * (hot >> 12)
    if select.select([0], [], [], 0.01)[0]:
        line = sys.stdin.readline()
        if not line:
            break
        at, hot = (int(word) << 20 for word in line.split())
"""
FLUSHER = "import os, time\nos.sched_setaffinity(0, {0})\nwhile True: time.sleep(0.004)\n"
"""A change of the process makes QEMU's translations forget pages, which then get their accessed bit again."""


class User:
    """A process of a job that holds `size` MiB and uses `hot` of them, from `at` on, all the time."""

    def __init__(
        self, cgroups: JobCgroups, job_id: int, size: int, hot: int, at: int = 0, prefix: tuple[str, ...] = ()
    ) -> None:
        argv = [*prefix, "/usr/bin/python3", "-I", "-c", USER, *map(str, (size, hot, at))]
        self.process = cgroups.start(job_id, argv, stdin=subprocess.PIPE)
        assert self.process.stdout is not None
        self.address = int(self.process.stdout.readline())
        self.size = size

    def use(self, at: int, hot: int) -> None:
        """Use other memory from now on."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{at} {hot}\n")
        self.process.stdin.flush()

    def share(self, at: int, size: int, node: int) -> float:
        """Which part of a piece of its memory (MiB) is on a NUMA node."""
        start = self.address + at * MIB
        located = pages.locate(self.process.pid, np.array([start]), np.array([start + size * MIB]))
        return float(located[0, node] / max(located.sum(), 1))


@contextmanager
def flushed() -> Iterator[None]:
    """Accessed bits tell the truth on CPU 0."""
    flusher = subprocess.Popen([sys.executable, "-I", "-c", FLUSHER])
    try:
        yield
    finally:
        flusher.kill()
        flusher.wait()

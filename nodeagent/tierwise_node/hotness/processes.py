"""Which processes of a job are looked at: its own, the largest few, however many it has.

A look at a process costs a few system calls, so only so many are looked at in one turn; the next turn goes on where
this one ended. What was found holds until the process is looked at again or has ended.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from tierwise_node.kernel_files import read

LOOKS = 64
"""Processes of a job looked at in one turn."""
LARGEST = 8
"""Processes of a job that are tracked, at most."""
SMALLEST = 4 << 20
"""Bytes below which a process is not worth it."""
KIB = 1024


@dataclass(frozen=True)
class Process:
    """A process of a job. `started` (clock ticks since boot) tells it from a later one with the same pid; `resident`:
    bytes of anonymous and shared memory."""

    pid: int
    started: int
    resident: int


@dataclass
class Processes:
    """The processes of one job with the given user, as far as they are known."""

    uid: int
    seen: int = 0
    """How many the job has now."""
    _known: dict[int, Process] = field(default_factory=dict)
    _next: int = 0

    def look(self, pids: Iterable[int]) -> list[Process]:
        """The largest of the job's processes, of which `pids` are there now; those of other users are left out."""
        there = sorted(set(pids))
        self.seen = len(there)
        now = {pid: self._known[pid] for pid in there if pid in self._known}
        chosen = _largest(now)
        at = next((index for index, pid in enumerate(there) if pid >= self._next), 0)
        turn = (there[at:] + there[:at])[:LOOKS]
        self._next = turn[-1] + 1 if turn else 0
        for pid in {*turn, *(process.pid for process in chosen)}:
            now.pop(pid, None)
            if (process := _process(pid, self.uid)) is not None:
                now[pid] = process
        self._known = now
        return _largest(now)


def _largest(known: dict[int, Process]) -> list[Process]:
    worth = [process for process in known.values() if process.resident >= SMALLEST]
    return sorted(worth, key=lambda process: -process.resident)[:LARGEST]


def _process(pid: int, uid: int) -> Process | None:
    """None: it has ended, is small, another user's, or not dumpable (then it is root's in /proc)."""
    folder = f"/proc/{pid}"
    try:
        if int(read(f"{folder}/statm").split()[1]) * mmap.PAGESIZE < SMALLEST:
            return None  # most are, where there are many: one file says it
        if os.stat(folder).st_uid != uid:
            return None
        started = int(read(f"{folder}/stat").rpartition(") ")[2].split()[19])
        status = read(f"{folder}/status")
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("RssAnon:", "RssShmem:")))
    return Process(pid, started, sum(int(size.split()[0]) for size in sizes.values()) * KIB)

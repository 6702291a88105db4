"""The tracker that finds writes: soft-dirty bits, for kernels without DAMON. What is only read looks cold to it.

Each page costs its process a minor fault at its first write after a look, so the looks at a process are as far apart
as its writing makes them dear.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tierwise_node import pages
from tierwise_node.hotness.tracker import Seen
from tierwise_policy.heat import RANGE, Ranges, no_ranges

PERIOD = 10.0
"""Seconds between two looks at a process, at least."""
FAULT = 2e-6
"""Seconds that a page's first write after a look costs: the fault, and the flush before it."""
SHARE = 0.01
"""The share of a core that these faults may take of one process."""
BLOCKS, SMALLEST = 1024, 1 << 16
"""At most so many ranges a process, of 64 KiB at least."""
MOST_AREAS = 4096
SLOWNESS = 0.7
"""What the heat before keeps against what is seen now: three looks change it by two thirds."""
_DAC_OVERRIDE = 1 << 1  # linux/capability.h: to write other users' clear_refs


@dataclass
class _Look:
    """What is known of one process; `next`: when to look again."""

    begun: float
    next: float
    ranges: Ranges = field(default_factory=no_ranges)


class SoftDirty:
    """See Tracker."""

    name = "soft-dirty"
    hurries = False

    def __init__(self, period: float = PERIOD) -> None:
        self._period = period
        self._looks: dict[int, _Look] = {}
        self._pace = 1
        self._cpu = 0.0

    def problem(self) -> str:
        """See Tracker."""
        if not _kernel_has_it():
            return "the kernel does not track it (CONFIG_MEM_SOFT_DIRTY)"
        if not _capabilities() & _DAC_OVERRIDE:
            return "other users' clear_refs needs CAP_DAC_OVERRIDE (CapabilityBoundingSet= of the unit)"
        return ""

    def follow(self, jobs: Mapping[int, Sequence[int]], pace: int) -> None:
        """See Tracker."""
        self._pace = pace
        pids = {pid for of_job in jobs.values() for pid in of_job}
        self._looks = {pid: look for pid, look in self._looks.items() if pid in pids}
        for pid in pids - self._looks.keys():
            self._begin(pid, no_ranges(), self._period * pace)

    def read(self) -> dict[int, Seen]:
        """See Tracker."""
        now = time.monotonic()
        due = [pid for pid, look in self._looks.items() if look.next <= now]
        return {pid: seen for pid in due if (seen := self._look(pid, now)) is not None}

    def cpu(self) -> float:
        """See Tracker: an estimate of what the faults cost the jobs."""
        return self._cpu

    def stop(self) -> None:
        """See Tracker. Soft-dirty bits are nobody's: there is nothing to take back."""
        self._looks.clear()

    def _begin(self, pid: int, ranges: Ranges, wait: float) -> None:
        now = time.monotonic()
        try:
            pages.clean(pid)
        except OSError:  # it has ended, or may not be looked at
            self._looks.pop(pid, None)
        else:
            self._looks[pid] = _Look(now, now + wait, ranges)

    def _look(self, pid: int, now: float) -> Seen | None:
        look = self._looks[pid]
        try:
            blocks = _blocks(pid)
            present, written = pages.written(pid, blocks["start"], blocks["end"])
        except OSError:
            del self._looks[pid]
            return None
        blocks["heat"] = written / np.maximum(present, 1)
        seconds, cost = now - look.begun, float(written.sum()) * FAULT
        self._cpu += cost
        blocks = _remembering(look.ranges, blocks[present > 0], seconds)
        self._begin(pid, blocks, max(self._period, cost / SHARE) * self._pace)
        return Seen(seconds, blocks)


def _blocks(pid: int) -> Ranges:
    """A process's movable areas, cut at the multiples of a power of two, so that a block keeps its place."""
    areas = pages.movable(pid, MOST_AREAS)
    if areas is None:
        return no_ranges()
    starts, ends = areas
    step = np.uint64(SMALLEST)
    while (counts := (ends + step - np.uint64(1)) // step - starts // step).sum() > BLOCKS + len(starts):
        step *= np.uint64(2)
    area = np.repeat(np.arange(len(starts)), counts.astype(np.int64))
    number = np.arange(len(area)) - np.repeat(np.cumsum(counts) - counts, counts.astype(np.int64)).astype(np.int64)
    blocks = np.zeros(len(area), RANGE)
    blocks["pid"] = pid
    first = starts[area] // step + number.astype(np.uint64)
    blocks["start"] = np.maximum(first * step, starts[area])
    blocks["end"] = np.minimum((first + np.uint64(1)) * step, ends[area])
    return blocks


def _remembering(before: Ranges, now: Ranges, seconds: float) -> Ranges:
    """`now` with the heat that the same blocks had before mixed in, and the age of those that kept about theirs."""
    place = np.searchsorted(before["start"], now["start"])
    place[place == len(before)] = 0
    same = before["start"][place] == now["start"] if len(before) else np.zeros(len(now), bool)
    old = before[place[same]]
    mixed = now.copy()
    mixed["heat"][same] = SLOWNESS * old["heat"] + (1 - SLOWNESS) * now["heat"][same]
    steady = np.abs(mixed["heat"][same] - old["heat"]) < 0.1
    mixed["age"][same] = np.where(steady, old["age"] + seconds, 0)
    return mixed


def _kernel_has_it() -> bool:
    """A page of a new mapping is soft-dirty (Documentation/admin-guide/mm/soft-dirty.rst)."""
    import mmap  # noqa: PLC0415

    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        memory[0] = 1
        start = np.array([pages.address_of(memory)], np.uint64)
        _, written = pages.written(os.getpid(), start, start + np.uint64(mmap.PAGESIZE))
        return bool(written[0])


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))

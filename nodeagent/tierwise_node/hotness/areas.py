"""Which parts of a process's address space could be moved at all: what a tracker says of others is of no use."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from tierwise_node import pages
from tierwise_node.hotness.processes import Process
from tierwise_policy.heat import Ranges, clip

MOST_AREAS = 4096
AREAS_SHARE = 0.002
"""The share of a core that reading the areas of processes may take while they grow."""
GREW, STEADY = 0.02, 10
"""Of a process that holds the same but for this part they are read so many times more rarely."""


@dataclass
class _Known:
    """A process's areas (None: very many, or it has ended), and how much of it was resident when they were read."""

    areas: tuple[pages.Addresses, pages.Addresses] | None
    resident: int
    read: float
    pause: float


class Areas:
    """The movable areas of processes, read again where a process grew or shrank, and the more rarely the longer that
    takes: some have a hundred thousand."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def clip(self, process: Process, ranges: Ranges) -> Ranges:
        """The part of a process's ranges that could be moved; all where it has very many areas, or has ended."""
        known = self._known.get(process.pid)
        if known is None or self._is_due(known, process):
            known = self._known[process.pid] = self._read(process)
        return ranges if known.areas is None else clip(ranges, *known.areas)

    def _is_due(self, known: _Known, process: Process) -> bool:
        steady = abs(process.resident - known.resident) <= GREW * known.resident
        return time.monotonic() - known.read >= known.pause * (STEADY if steady else 1)

    def _read(self, process: Process) -> _Known:
        begun = time.monotonic()
        try:
            areas = pages.movable(process.pid, MOST_AREAS)
        except OSError:
            areas = None
        took = time.monotonic() - begun
        return _Known(areas, process.resident, time.monotonic(), took * max(len(self._known), 1) / AREAS_SHARE)

    def keep_only(self, pids: Collection[int]) -> None:
        """Forget the processes that are looked at no longer."""
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}

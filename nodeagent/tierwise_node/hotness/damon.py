"""The tracker that reads accessed bits: DAMON on virtual addresses, a few kdamonds that share the jobs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from tierwise_node.hotness.aggregations import Aggregations, Region
from tierwise_node.hotness.kdamonds import ADMIN, Attributes, Kdamonds, tracing
from tierwise_node.hotness.tracker import EARLY, Seen
from tierwise_node.kernel_files import read
from tierwise_policy.heat import RANGE

SLOTS = 4
"""Kdamonds: each costs its CPU even when it finds nothing, so small jobs share them."""
PACE = Attributes(sample=0.1, samples=10, least_regions=50, most_regions=400)
"""A window a second: pages can't follow sooner than it ends, and who wants less noise adds windows up; 400 regions are
about 3,000 page table walks a second and kdamond."""
YOUNG = 3.0
"""Seconds, at pace 1, for which a kdamond that has begun looks more often: its regions start coarse and halve once an
aggregation, and heat is believed after three. For so long it doesn't begin again for new processes of its jobs."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class _Slot:
    """One kdamond: the processes that it was given, in that order, how often it looks, and since when it runs."""

    attributes: Attributes
    pids: list[int] = field(default_factory=list)
    pid: int = 0
    since: float = 0.0
    cpu: float = 0.0
    """Of the kdamond that runs; `spent`: of those before it."""
    spent: float = 0.0


class Damon:
    """See Tracker. `node` tells the agents of one host apart; `journal` outlives the agent."""

    name = "damon"

    def __init__(self, journal: Path, node: str, admin: Path = ADMIN, pace: Attributes = PACE) -> None:
        self._kdamonds = Kdamonds(journal, SLOTS, admin)
        self._node, self._base = node, pace
        self._slots = [_Slot(pace) for _ in range(SLOTS)]
        self._of_job: dict[int, int] = {}
        self._pace = 1
        self._aggregations: Aggregations | None = None

    @property
    def hurries(self) -> bool:
        """See Tracker."""
        return any(slot.pid and slot.attributes.sample < self._at(self._pace).sample for slot in self._slots)

    def problem(self) -> str:
        """See Tracker."""
        return self._kdamonds.problem()

    def follow(self, jobs: Mapping[int, Sequence[int]], pace: int) -> None:
        """See Tracker."""
        if self._aggregations is None:
            if not jobs:
                return
            self._open()
        self._assign(jobs)
        self._pace = pace
        for index, slot in enumerate(self._slots):
            wanted = sorted(pid for job, at in self._of_job.items() if at == index for pid in jobs[job])
            self._run(index, slot, wanted)

    def read(self) -> dict[int, Seen]:
        """See Tracker."""
        if self._aggregations is None:
            return {}
        targets = {(slot.pid, at): pid for slot in self._slots for at, pid in enumerate(slot.pids)}
        found = self._aggregations.read()
        paces = {slot.pid: slot.attributes for slot in self._slots}
        return {
            targets[key]: _seen(targets[key], region, paces[key[0]]) for key, region in found.items() if key in targets
        }

    def cpu(self) -> float:
        """See Tracker."""
        for slot in self._slots:
            slot.cpu = max(slot.cpu, _cpu(slot.pid))
        return sum(slot.spent + slot.cpu for slot in self._slots)

    def stop(self) -> None:
        """See Tracker."""
        self._kdamonds.give_back()
        if self._aggregations is not None:
            self._aggregations.close()
            self._aggregations = None
        self._slots = [_Slot(self._base) for _ in range(SLOTS)]
        self._of_job.clear()

    def _open(self) -> None:
        place = tracing()
        if place is None:
            raise OSError("tracefs has gone")
        self._kdamonds.take()
        self._aggregations = Aggregations(place, f"tierwise-{self._node}")

    def _assign(self, jobs: Mapping[int, Sequence[int]]) -> None:
        """Each job to one kdamond for its life; a new one to the one that has fewest jobs."""
        self._of_job = {job: index for job, index in self._of_job.items() if job in jobs}
        for job in jobs:
            if job not in self._of_job:
                held = list(self._of_job.values())
                self._of_job[job] = min(range(SLOTS), key=held.count)

    def _run(self, index: int, slot: _Slot, wanted: list[int]) -> None:
        """Begin again where processes are new, or all have ended; who ended meanwhile costs nothing."""
        if not wanted and not slot.pid:
            return
        alive = self._kdamonds.running(index) if slot.pid else 0
        new = set(wanted) - set(slot.pids)
        age = (time.monotonic() - slot.since) / self._pace
        usual = self._at(self._pace)
        if not wanted or not alive or (new and age >= YOUNG):
            self._begin(index, slot, wanted, self._at(self._pace * EARLY))
        elif age >= YOUNG and slot.attributes != usual:
            try:
                self._kdamonds.change(index, usual)
                slot.attributes = usual
            except OSError:  # one of its processes has ended
                self._begin(index, slot, wanted, usual)

    def _begin(self, index: int, slot: _Slot, wanted: list[int], attributes: Attributes) -> None:
        slot.spent, slot.cpu = slot.spent + max(slot.cpu, _cpu(slot.pid)), 0.0
        slot.pids, slot.pid, slot.attributes = wanted, 0, attributes
        if not wanted:
            self._kdamonds.off(index)
            return
        with contextlib.suppress(ProcessLookupError):
            self._kdamonds.on(index, wanted, attributes)
            slot.pid, slot.since = self._kdamonds.running(index), time.monotonic()

    def _at(self, pace: float) -> Attributes:
        return msgspec.structs.replace(self._base, sample=self._base.sample * pace)


def _seen(pid: int, region: Region, attributes: Attributes) -> Seen:
    ranges = np.empty(len(region.start), RANGE)
    ranges["pid"], ranges["start"], ranges["end"] = pid, region.start, region.end
    ranges["heat"] = np.minimum(region.accesses / attributes.samples, 1.0)
    ranges["age"] = region.age * attributes.aggregation
    return Seen(attributes.aggregation, ranges)


def _cpu(pid: int) -> float:
    """Seconds of CPU that a kernel thread has used (proc(5): utime and stime); 0 when it has ended."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS

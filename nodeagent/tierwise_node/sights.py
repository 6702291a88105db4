"""Each job's memory as movement sees it: the newest window of heat, and where its ranges lie now.

Looking for pages costs a walk of them, so it has a budget of its own: between two looks, what we moved ourselves is
counted on.
"""

from __future__ import annotations

import time
from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from tierwise_node.hotness.hotness import SMALLEST
from tierwise_node.memory.kept import without
from tierwise_node.pages import Moved
from tierwise_node.placer import Placer
from tierwise_node.record import JobRecord
from tierwise_node.tiers import Topology
from tierwise_policy.heat import RANGE, Ranges, Window
from tierwise_policy.holdings import Bytes, Holding
from tierwise_policy.recent import LANDED, Recent
from tierwise_policy.smoothing import smoothed

LOOKING = 0.02
"""The part of one CPU that looking for the pages of one job may take."""
OLD = 60.0
"""Seconds after which a window says nothing any more."""


@dataclass
class _Sight:
    """What was seen of one job, from which window, and when it may be looked at again (monotonic seconds).

    `heat`: all of its ranges, smoothed over the windows; `ranges`: those of them that hold pages.
    """

    heat: Ranges
    ranges: Ranges
    located: Bytes
    window: int
    again: float


class Sights:
    """Used by one thread at a time."""

    def __init__(self, placer: Placer, topology: Topology) -> None:
        self._placer, self._topology = placer, topology
        self._sights: dict[int, _Sight] = {}
        self.recent = Recent()

    def holding(self, record: JobRecord, window: Window | None) -> Holding:
        """One job's memory. Without a window that can be believed, it is one range of process 0."""
        job_id = record.key.job_id
        if window is not None and window.trusted and not _is_old(window) and not _only_bw(record):
            sight = self._sights.get(job_id)
            if sight is None or (sight.window != window.time and time.monotonic() >= sight.again):
                sight = self._sights[job_id] = self._look(record, window)
            if len(sight.ranges):
                unseen = np.maximum(self._found(record) - sight.located.sum(axis=0), 0)
                ranges = np.concatenate([sight.ranges, np.zeros(1, RANGE)])
                located = np.concatenate([sight.located, unseen])
                return Holding(job_id, record.plan, ranges, located, True, record.suspended)
        young = record.is_young(time.time_ns()) and sum(record.found.values()) >= SMALLEST
        return Holding(job_id, record.plan, np.zeros(1, RANGE), self._found(record), False, record.suspended, young)

    def _found(self, record: JobRecord) -> Bytes:
        return np.array([[record.found.get(name, 0) for name in self._topology.order]], np.int64)

    def landed(self, job_id: int, rows: Ranges, source: int, target: int, moved: Moved, page: int) -> None:
        """Count on what a move within `rows` of one process did. What did not move is left alone for a while, too."""
        whole, arrived = _reached(rows, moved.cursor), moved.moves.landed * page
        records = np.zeros(len(whole), LANDED)
        records["pid"], records["start"], records["end"] = whole["pid"], whole["start"], whole["end"]
        records["time"] = time.monotonic()
        records["tier"] = target if arrived else source
        self.recent = self.recent.add(time.monotonic(), records)
        if sight := self._sights.get(job_id):
            for row in rows:
                at = (sight.ranges["pid"] == row["pid"]) & (sight.ranges["start"] == row["start"])
                size = min(arrived, int(sight.located[at, source].sum()))
                sight.located[at, source] -= size
                sight.located[at, target] += size
                arrived -= size

    def keep_only(self, jobs: Container[int]) -> None:
        """Forget the jobs that have ended."""
        for job_id in [job_id for job_id in self._sights if job_id not in jobs]:
            del self._sights[job_id]

    def _look(self, record: JobRecord, window: Window) -> _Sight:
        begun = time.monotonic()
        before = self._sights.get(record.key.job_id)
        heat = smoothed(window.ranges, before.heat) if before else window.ranges
        ranges = self.recent.cut(self._free(heat))
        located = np.zeros((len(ranges), len(self._topology.order)), np.int64)
        for pid in np.unique(ranges["pid"]):
            rows = np.flatnonzero(ranges["pid"] == pid)
            nodes = self._placer.locate(record.key.job_id, record.uid, int(pid), ranges[rows])
            if nodes is not None:
                for tier, name in enumerate(self._topology.order):
                    located[rows, tier] = nodes[:, list(self._topology.nodes([name]))].sum(axis=1)
        there = located.sum(axis=1) > 0
        spent = time.monotonic() - begun
        return _Sight(heat, ranges[there], located[there], window.time, time.monotonic() + spent / LOOKING)

    def _free(self, ranges: Ranges) -> Ranges:
        """Without what programs were granted: it stays where it is, however hot."""
        kept = {int(pid): self._placer.kept(int(pid)) for pid in np.unique(ranges["pid"])}
        if not any(kept.values()):
            return ranges
        return np.concatenate([without(ranges[ranges["pid"] == pid], extents) for pid, extents in kept.items()])


def _reached(rows: Ranges, cursor: int) -> Ranges:
    """The ranges that a move got through before its limit ended it at address `cursor` (0: all of them)."""
    for number, row in enumerate(rows):
        if cursor and row["start"] <= cursor < row["end"]:
            reached = rows[: number + 1].copy()
            reached["end"][number] = cursor
            return reached[reached["end"] > reached["start"]]
    return rows


def _is_old(window: Window) -> bool:
    """Whether nobody has looked at the job for a while: it was suspended, or its tracker had to stop."""
    return (time.time_ns() - window.time) / 1e9 > max(OLD, 3 * window.seconds)


def _only_bw(record: JobRecord) -> bool:
    """A streamed part is spread on purpose: its pages are told apart by bandwidth, not by heat."""
    return record.plan is not None and all(part.memory_class == "BW" for part in record.plan.parts)

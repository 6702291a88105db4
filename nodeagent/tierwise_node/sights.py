"""Each job's memory as movement sees it: the newest heat, and where its ranges lie now.

Walking a job's pages costs far more than all else here, so all jobs together have one budget for it: between two walks
what we moved ourselves is counted on. And a job in which nothing changes gets its newest heat less often.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Container
from dataclasses import dataclass, field

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
from tierwise_policy.smoothing import JUMPED, NEWEST, smoothed
from tierwise_policy.whereabouts import Whereabouts, in_pieces

WALKING = 0.01
"""The part of one CPU that walking the pages of all jobs may take, where they have changed."""
UNCHANGED = 10
"""Pages are walked so many times more rarely where sums don't tell that any have come, gone or been moved by others."""
DRIFT = 0.02
"""The part of a job's memory that may lie elsewhere than the last walk and our moves say, before it is walked again."""
ATTENTIVE, LONGEST_REST = 5, 8.0
"""After so many windows that moved nothing a job's heat is taken up more rarely, in the end after so many seconds."""
OLD = 60.0
"""Seconds after which a window says nothing any more."""


@dataclass
class _Sight:
    """What was seen of one job, and from which window; times are monotonic seconds.

    `heat`: all of its ranges, smoothed over the windows; `ranges` and `located`: those of them that hold pages.
    `unseen`: bytes that the walk did not find. `again`: when it may be walked again. `judged`: the window of the last
    decision. `idle`: windows since one that moved something.
    """

    heat: Ranges
    window: int
    places: Whereabouts = field(init=False)
    unseen: Bytes = field(init=False)
    again: float = 0.0
    pause: float = 0.0
    ranges: Ranges = field(init=False)
    located: Bytes = field(init=False)
    judged: int = 0
    idle: int = 0
    rest: float = 0.0
    rests_until: float = 0.0
    moved: bool = False


class Sights:
    """Used by one thread at a time."""

    def __init__(self, placer: Placer, topology: Topology) -> None:
        self._placer, self._topology = placer, topology
        self._sights: dict[int, _Sight] = {}
        self.recent = Recent()

    def forget_settled(self) -> None:
        """What has stayed for long enough where it was moved may move again."""
        self.recent = self.recent.at(time.monotonic())

    def holding(self, record: JobRecord, window: Window | None) -> Holding:
        """One job's memory. Without a window that can be believed, it is one range of process 0."""
        job_id = record.key.job_id
        if window is not None and _is_believed(window, record):
            sight = self._sights.get(job_id)
            if sight is None or self._is_due(sight, record, window):
                sight = self._sights[job_id] = self._look(record, window)
            elif sight.moved:
                self._lay_out(sight)
            lost = record.pin_missing and self._drifted(sight, record)  # a pin is repaired at once, with any pages
            if len(sight.ranges) and not lost:
                unseen = np.maximum(self._found(record) - sight.located.sum(axis=0), 0)
                ranges = np.concatenate([sight.ranges, np.zeros(1, RANGE)])
                located = np.concatenate([sight.located, unseen[None]])
                return Holding(job_id, record.plan, ranges, located, True, record.suspended)
        young = record.is_young(time.time_ns()) and sum(record.found.values()) >= SMALLEST
        found = self._found(record)[None]
        robbed = record.pin_missing > 0
        return Holding(job_id, record.plan, np.zeros(1, RANGE), found, False, record.suspended, young, robbed)

    def is_news(self, record: JobRecord, window: Window | None) -> bool:
        """Whether there would be something new to see of a job now."""
        sight = self._sights.get(record.key.job_id)
        if window is None or not _is_believed(window, record):
            return False
        return sight is None or self._is_due(sight, record, window)

    def decided(self, job_id: int, moves: bool) -> None:
        """Whether there was anything to move of a job, its memory being as it was seen: if not, it may rest longer.

        Rests end at the same times for all jobs: one decision is for all that have news.
        """
        sight = self._sights.get(job_id)
        if sight is not None and (moves or sight.judged != sight.window):
            sight.judged, sight.idle = sight.window, 0 if moves else sight.idle + 1
            sight.rest = min(2.0 ** (sight.idle - ATTENTIVE), LONGEST_REST) if sight.idle >= ATTENTIVE else 0.0
            now = time.monotonic()
            sight.rests_until = now - now % sight.rest + sight.rest if sight.rest else now

    def landed(self, job_id: int, rows: Ranges, source: int, target: int, moved: Moved) -> None:
        """Count on what a move within `rows` of one process did. What did not move is left alone for a while, too."""
        whole, arrived = _reached(rows, moved.cursor), moved.moves.landed * mmap.PAGESIZE
        self._leave_alone(whole, target if arrived else source)
        if sight := self._sights.get(job_id):
            sight.places, sight.moved = sight.places.moved(whole, source, target, arrived), True

    def paged_out(self, job_id: int, rows: Ranges, source: int, moved: Moved) -> None:
        """Count on what a paging out within `rows` of one process did: it is on no tier any more."""
        arrived = moved.moves.landed * mmap.PAGESIZE
        if not arrived:
            self._leave_alone(rows, source)
        if sight := self._sights.get(job_id):
            places = Whereabouts(sight.places.pieces, np.pad(sight.places.located, ((0, 0), (0, 1))))
            places = places.moved(rows, source, len(self._topology.order), arrived)
            sight.places, sight.moved = Whereabouts(places.pieces, places.located[:, :-1]), True

    def keep_only(self, jobs: Container[int]) -> None:
        """Forget the jobs that have ended."""
        for job_id in [job_id for job_id in self._sights if job_id not in jobs]:
            del self._sights[job_id]

    def _leave_alone(self, rows: Ranges, tier: int) -> None:
        """What lies within these rows on this tier stays there for a while."""
        records = np.zeros(len(rows), LANDED)
        records["pid"], records["start"], records["end"] = rows["pid"], rows["start"], rows["end"]
        records["time"], records["tier"] = time.monotonic(), tier
        self.recent = self.recent.add(time.monotonic(), records)

    def _found(self, record: JobRecord) -> Bytes:
        return np.array([record.found.get(name, 0) for name in self._topology.order], np.int64)

    # --- looking ------------------------------------------------------------------------------------------------------

    def _is_due(self, sight: _Sight, record: JobRecord, window: Window) -> bool:
        now = time.monotonic()
        if now >= sight.again and self._drifted(sight, record):
            return True
        return window.time != sight.window and (not window.steady or now >= sight.rests_until)

    def _drifted(self, sight: _Sight, record: JobRecord) -> bool:
        found = self._found(record)
        return bool(np.abs(found - sight.places.found - sight.unseen).sum() > DRIFT * found.sum())

    def _look(self, record: JobRecord, window: Window) -> _Sight:
        """Take a new window up, and walk the pages where that is due."""
        sight = self._sights.get(record.key.job_id)
        if sight is None:
            sight = self._walked(record, _Sight(window.ranges, window.time))
        else:
            if window.time != sight.window:
                newest = NEWEST if window.steady else JUMPED
                sight.heat, sight.window = smoothed(window.ranges, sight.heat, newest), window.time
            since = time.monotonic() - sight.again
            if since >= 0 and (self._drifted(sight, record) or since >= (UNCHANGED - 1) * sight.pause):
                self._walked(record, sight)
        self._lay_out(sight)
        return sight

    def _walked(self, record: JobRecord, sight: _Sight) -> _Sight:
        begun = time.thread_time()
        pieces = in_pieces(self._free(sight.heat))
        located = np.zeros((len(pieces), len(self._topology.order)), np.int64)
        for pid in np.unique(pieces["pid"]):
            rows = np.flatnonzero(pieces["pid"] == pid)
            nodes = self._placer.locate(record.key.job_id, record.uid, int(pid), pieces[rows])
            if nodes is not None:
                for tier, name in enumerate(self._topology.order):
                    located[rows, tier] = nodes[:, list(self._topology.nodes([name]))].sum(axis=1)
        sight.places = Whereabouts(pieces, located)
        sight.unseen = self._found(record) - sight.places.found
        sight.pause = (time.thread_time() - begun) * max(len(self._sights), 1) / WALKING
        sight.again = time.monotonic() + sight.pause
        return sight

    def _lay_out(self, sight: _Sight) -> None:
        """Lay the heat upon the places."""
        ranges = self.recent.cut(self._free(sight.heat))
        located = sight.places.of(ranges)
        there = located.sum(axis=1) > 0
        sight.ranges, sight.located, sight.moved = ranges[there], located[there], False

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


def _is_believed(window: Window, record: JobRecord) -> bool:
    return window.trusted and not _is_old(window) and not _only_bw(record)


def _is_old(window: Window) -> bool:
    """Whether nobody has looked at the job for a while: it was suspended, or its tracker had to stop."""
    return (time.time_ns() - window.time) / 1e9 > max(OLD, 3 * window.seconds)


def _only_bw(record: JobRecord) -> bool:
    """A streamed part is spread on purpose: its pages are told apart by bandwidth, not by heat."""
    return record.plan is not None and all(part.memory_class == "BW" for part in record.plan.parts)

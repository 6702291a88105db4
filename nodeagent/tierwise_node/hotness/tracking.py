"""The tracking of all jobs here: chooses a tracker, gives it their processes, keeps to a budget, and keeps windows.

With numpy, so imported only once there is a job to track.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from tierwise.messages import Heat, Heatmap, HeatmapRow
from tierwise_node.cgroups import JobCgroup
from tierwise_node.hotness.areas import Areas
from tierwise_node.hotness.processes import Process, Processes
from tierwise_node.hotness.tracker import EARLY, TURN, Seen, Tracker
from tierwise_node.record import JobRecord
from tierwise_policy.heat import Ranges, Window, hottest, no_ranges, sizes, trustworthy, working_set
from tierwise_policy.heatmap import History

log = logging.getLogger(__name__)
BUDGET = 0.015
"""The share of a core that tracking may take, with what kernel threads and faults take for it: half of what it may
cost to follow the jobs' pages. The rest is for walking them, deciding and the beat."""
SLOWEST, FASTER = 16, 0.45
LOOK_AGAIN = 30.0
"""Seconds after which a host without a usable tracker is looked at again."""
OURS = 10
"""Turns after which a tracker is asked again whether it can be used, where it follows the same processes as before:
that costs as much as following a job."""
VERDICTS = 3
"""Windows over which trust is the majority's: one window after a jump of the hot set says little."""


@dataclass
class _Tracked:
    """One job: its processes, the last windows' verdicts, and its history."""

    processes: Processes
    chosen: list[Process] = field(default_factory=list)
    window: Window | None = None
    verdicts: deque[bool] = field(default_factory=lambda: deque(maxlen=VERDICTS))
    history: History = field(default_factory=History)


class Tracking:
    """`trackers`: how to make each, the best first. One thread at a time takes a turn; all may read what it saw."""

    def __init__(self, trackers: Sequence[Callable[[], Tracker]]) -> None:
        self._trackers = trackers
        self._tracker: Tracker | None = None
        self._tracked: dict[int, _Tracked] = {}
        self._areas = Areas()
        self._turn_over = threading.Lock()
        self._spent = self._spent_before = 0.0
        self._judged = time.monotonic()
        self._look_again = 0.0
        self._turns = 0
        self._followed: dict[int, list[int]] = {}
        self.news = False
        """Whether the last turn brought the first heat to be believed, or showed that a hot set has jumped."""
        self.pace = 1
        """Turns take so many times TURN."""
        self.problems: tuple[str, ...] = ()
        """Why each tracker that is better than the one in use can't be used."""

    @property
    def tracker(self) -> str:
        """The tracker in use; empty: none, or no job is large enough."""
        return self._tracker.name if self._tracker else ""

    @property
    def seconds(self) -> float:
        """Seconds from one turn to the next now."""
        return TURN * self.pace * (EARLY if self._tracker and self._tracker.hurries else 1)

    def windows(self) -> dict[int, Window]:
        """The newest window of each job that has one."""
        return {job: tracked.window for job, tracked in list(self._tracked.items()) if tracked.window is not None}

    def keep_only(self, jobs: Collection[int]) -> None:
        """Forget the jobs that have ended."""
        for job in [job for job in self._tracked if job not in jobs]:
            del self._tracked[job]

    def stop(self) -> None:
        """Leave nothing behind in the kernel."""
        with self._turn_over:
            self._stop()

    def heatmap(self, job: int, rows: int, columns: int) -> Heatmap | None:
        """The picture of a job's history; None when nothing was seen of it yet."""
        tracked = self._tracked.get(job)
        if tracked is None or tracked.window is None:
            return None
        picture, window = tracked.history.picture(rows, columns), tracked.window
        return Heatmap(
            job_id=job,
            tracker=window.tracker,
            trusted=window.trusted,
            working_set=working_set(window.ranges),
            hot=_bytes(hottest(window.ranges)),
            processes=tracked.processes.seen,
            tracked=len(tracked.chosen),
            times=picture.times,
            rows=tuple(
                HeatmapRow(int(pid), int(start), int(end), row.tobytes())
                for pid, start, end, row in zip(picture.pids, picture.starts, picture.ends, picture.cells, strict=True)
            ),
        )

    def tell(self, records: Mapping[int, JobRecord]) -> None:
        """Put the newest windows into the jobs' records, which their reports are made of."""
        for job, window in self.windows().items():
            record = records.get(job)
            if record is not None and window.time > record.heat_seen:
                record.heat_seen = window.time
                record.heat = _added(record.heat, window)

    # --- one turn ----------------------------------------------------------------------------------------------------

    def turn(self, groups: Mapping[int, JobCgroup], uids: Mapping[int, int]) -> None:
        """Read what was seen of these jobs since the last turn, and look at their processes until the next one."""
        with self._turn_over:
            begun = time.thread_time()
            if not groups:
                self._stop()
                return
            chosen = {
                job: self._tracked.setdefault(job, _Tracked(Processes(uids[job]))).processes.look(group.pids())
                for job, group in groups.items()
            }
            tracker = self._tracker = self._checked(followed := {job: _pids(them) for job, them in chosen.items()})
            if tracker is None:
                return
            seen, self.news = tracker.read(), False
            for job in groups:
                self._add(job, self._tracked[job], seen)
                self._tracked[job].chosen = chosen[job]
            tracker.follow(followed, self.pace)
            self._areas.keep_only({pid for pids in followed.values() for pid in pids})
            self._spent += time.thread_time() - begun
            self._keep_to_budget(tracker)

    def _checked(self, followed: dict[int, list[int]]) -> Tracker | None:
        """The tracker, if it can still be used; else another."""
        self._turns += 1
        new, self._followed = followed != self._followed, followed
        if self._tracker and (new or self._turns % OURS == 0) and (problem := self._tracker.problem()):
            log.warning("%s can't be used any longer: %s", self._tracker.name, problem)
            self._stop()
        return self._tracker or self._choose()

    def _choose(self) -> Tracker | None:
        if time.monotonic() < self._look_again:
            return None
        problems: list[str] = []
        for make in self._trackers:
            tracker = make()
            problem = tracker.problem()
            if not problem:
                break
            problems.append(f"{tracker.name}: {problem}")
        else:
            tracker, self._look_again = None, time.monotonic() + LOOK_AGAIN
        if tuple(problems) != self.problems or tracker is not None:
            log.info("hotness by %s; %s", tracker.name if tracker else "nothing", "; ".join(problems) or "the best")
        self.problems = tuple(problems)
        return tracker

    def _add(self, job: int, tracked: _Tracked, seen: Mapping[int, Seen]) -> None:
        """Make a window of what was seen of a job's processes."""
        of_job = {each: seen[each.pid] for each in tracked.chosen if each.pid in seen}
        if not of_job:
            return
        ranges = np.concatenate([self._areas.clip(process, each.ranges) for process, each in of_job.items()])
        resident = sum(process.resident for process in of_job)
        before = tracked.window.ranges if tracked.window else no_ranges()
        tracked.verdicts.append(steady := trustworthy(before, ranges, resident))
        trusted = sum(tracked.verdicts) * 2 > VERDICTS
        self.news |= trusted and not (steady and tracked.window and tracked.window.trusted)
        assert self._tracker is not None
        seconds = max(each.seconds for each in of_job.values())
        tracked.window = Window(job, time.time_ns(), seconds, ranges, self._tracker.name, trusted, steady)
        tracked.history.add(tracked.window)

    def _keep_to_budget(self, tracker: Tracker) -> None:
        """Twice as slow above the budget, twice as fast where that is within it; judged over ten turns."""
        now = time.monotonic()
        if now - self._judged < 10 * TURN * self.pace:
            return
        spent = self._spent + tracker.cpu()
        share = (spent - self._spent_before) / (now - self._judged)
        self._judged, self._spent_before = now, spent
        if share > BUDGET and self.pace < SLOWEST:
            self.pace *= 2
        elif share < FASTER * BUDGET and self.pace > 1:
            self.pace //= 2

    def _stop(self) -> None:
        if self._tracker is not None:
            self._tracker.stop()
            self._tracker = None


def _added(heat: Heat | None, window: Window) -> Heat:
    """The summary with one more window: means over the windows, of the hottest part over the trusted ones."""
    heat = heat or Heat(window.tracker)
    windows, trusted = heat.windows + 1, heat.trusted + window.trusted
    hot = heat.hot
    if window.trusted:
        hot += (_bytes(hottest(window.ranges)) - hot) // trusted
    mean = heat.working_set + (working_set(window.ranges) - heat.working_set) // windows
    return msgspec.structs.replace(
        heat, tracker=window.tracker, windows=windows, trusted=trusted, working_set=mean, hot=hot
    )


def _pids(processes: Sequence[Process]) -> list[int]:
    return [each.pid for each in processes]


def _bytes(ranges: Ranges) -> int:
    return int(sizes(ranges).sum())

"""What the agent remembers of one job: its plan, and the sums over its samples that the report is made of.

Pure: time comes in with each sample. The journal keeps a record across restarts, so it is one flat struct.
"""

import mmap
from collections.abc import Mapping
from typing import Literal

import msgspec

from tierwise.messages import Heat, JobReport, JobSample, Movement, PlanKey, TierUse, UsePoint
from tierwise.plans import Moves, Plan
from tierwise.tiers import TierName
from tierwise_node.cgroups import Usage

SECOND = 1_000_000_000
MAX_POINTS = 512
KNOWN_AFTER = 10.0
"""Seconds after a job's start by which its heat is known, if it ever will be: three windows, and those before."""
GROWTH = 0.01
"""A job grows when it holds more than this much more than at its last sample."""


class JobRecord(msgspec.Struct):
    """One job on this node. Times in ns since the epoch, sizes in bytes, durations in seconds."""

    key: PlanKey
    uid: int
    started: int
    directive: str = ""
    memory: int = 0
    plan: Plan | None = None
    reason: str = ""
    scratch: dict[TierName, int] = {}
    """Bytes that its scratch may take, by tier: granted by its plan, and the job's own memory."""
    final: bool = False
    """Whether the plan is made; until then the job runs as the kernel places it."""
    prologued: bool = False
    """The prolog told of this job: its epilog will, too."""
    tasked: bool = False
    """A task of this job has asked for its policy."""
    seen: int = 0
    """When its cgroup was last seen; 0: never yet."""
    found: dict[TierName, int] = {}
    lent: dict[TierName, int] = {}
    """What of it is on a faster tier than its plan says, room being idle there; negative where that is missing."""
    suspended: bool = False
    watched: float = 0.0
    gaps: float = 0.0
    byte_seconds: dict[TierName, float] = {}
    peaks: dict[TierName, int] = {}
    peak: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    oom_kills: int = 0
    cpu_seconds: float = 0.0
    moves: Moves = Moves()
    promoted: int = 0
    demoted: int = 0
    broken_pins: int = 0
    repaired_pins: int = 0
    pin_is_hard: bool = False
    pin_held: int = 0
    """Bytes of the pinned part that have been on the fastest tier, and are the job's still."""
    pin_missing: int = 0
    """What of them the kernel has taken away, and is not back yet."""
    growing: bool = False
    settles: int = 0
    """From then on what is found should agree with the plan: growth has stopped and the excess has had its time."""
    settled_samples: int = 0
    agreed_samples: int = 0
    resolution: float = 0.0
    """Seconds between two points of the curve; doubled when it is full."""
    next_point: float = 0.0
    points: int = 0
    heat: Heat | None = None
    heat_seen: int = 0
    """When its newest heat window was."""

    def observe(self, now: int, found: Mapping[TierName, int], usage: Usage, gap: bool = False) -> None:
        """Add a sample. `gap`: nobody watched since the last one; its bytes are taken as the mean of both ends."""
        if self.seen:
            seconds = max(now - self.seen, 0) / SECOND
            self.gaps += seconds if gap else 0.0
            self.watched += seconds
            for tier in {*found, *self.found}:
                mean = (found.get(tier, 0) + self.found.get(tier, 0)) / 2
                self.byte_seconds[tier] = self.byte_seconds.get(tier, 0.0) + mean * seconds
        self.growing = sum(found.values()) > sum(self.found.values()) * (1 + GROWTH)
        self.seen = now
        self.found = dict(found)
        self.peaks = {tier: max(size, self.peaks.get(tier, 0)) for tier, size in found.items()}
        self.peak = max(self.peak, usage.peak, sum(found.values()))
        self.minor_faults = max(self.minor_faults, usage.minor_faults)
        self.major_faults = max(self.major_faults, usage.major_faults)
        self.oom_kills = max(self.oom_kills, usage.oom_kills)
        self.cpu_seconds = max(self.cpu_seconds, usage.cpu_seconds)
        self.suspended = usage.suspended

    @property
    def movable(self) -> bool:
        """Whether we may move its pages: it has a plan, or it is one of those that are placed by prediction."""
        return self.plan is not None or (self.directive in ("", "auto") and self.uid != 0)

    @property
    def own(self) -> dict[TierName, int]:
        """What was found, with what was lent to it counted where its plan says."""
        return {tier: max(size - self.lent.get(tier, 0), 0) for tier, size in self.found.items()}

    def is_young(self, now: int) -> bool:
        """Whether it began so lately that its heat can't be known yet."""
        return now - self.started < KNOWN_AFTER * SECOND

    @property
    def pinned(self) -> int:
        """Bytes of its plan that are never moved down."""
        return sum(part.pinned for part in self.plan.parts) if self.plan else 0

    def watch_pin(self, fastest: TierName, before: int, swapped: int) -> None:
        """Count what was taken from the pinned part since the last sample, and what came back.

        `before`: bytes that the job had then, `swapped` has swapped out now. What the job freed nobody took.
        """
        total = sum(self.found.values())
        due = min(self.pinned, total + swapped)
        here = min(self.found.get(fastest, 0), due)
        freed = max(before - total - swapped, 0)
        self.pin_held = min(max(self.pin_held, here), due)
        self.pin_held -= min(max(self.pin_held - here - self.pin_missing, 0), freed)
        missing = self.pin_held - here
        self.broken_pins += max(missing - self.pin_missing, 0) // mmap.PAGESIZE
        self.repaired_pins += max(self.pin_missing - missing, 0) // mmap.PAGESIZE
        self.pin_missing = missing

    def count(self, moves: Moves, promoted: int, demoted: int) -> None:
        """Add verified moves; pages that went up and that went down."""
        self.moves += moves
        self.promoted += promoted
        self.demoted += demoted

    def compare(self, now: int, agrees: bool | None, excess_seconds: float) -> None:
        """Count whether this sample agreed with the plan, once the excess has had the time that it takes to move."""
        if self.growing:
            self.settles = now + int(excess_seconds * SECOND)
        elif agrees is not None and now >= self.settles:
            self.settled_samples += 1
            self.agreed_samples += agrees

    def take_point(self, now: int, interval: float) -> UsePoint | None:
        """The next point of the curve, if one is due."""
        at = (now - self.started) / SECOND
        self.resolution = self.resolution or interval
        if at < self.next_point:
            return None
        self.next_point = at + self.resolution
        self.points += 1
        return UsePoint(round(at, 3), dict(self.found))

    def thin_out(self) -> None:
        """The curve was full, and every other point has been dropped."""
        self.points = (self.points + 1) // 2
        self.resolution *= 2

    def sample(self, agrees: bool | None) -> JobSample:
        """The job now, for status and the service."""
        return JobSample(
            key=self.key,
            uid=self.uid,
            plan=self.plan,
            found=self.found,
            agrees=agrees,
            moves=self.moves,
            suspended=self.suspended,
            directive=self.directive,
            reason=self.reason,
            started=self.started,
            movement=self.movement(),
        )

    def movement(self) -> Movement:
        """What moving did."""
        pin: Literal["", "soft", "hard"] = "" if not self.pinned else "hard" if self.pin_is_hard else "soft"
        return Movement(self.promoted, self.demoted, self.broken_pins, self.repaired_pins, pin)

    def report(self, node: str, ended: int, end: str, curve: tuple[UsePoint, ...]) -> JobReport:
        """The job's report. A job in which nothing could be compared, being short or small, disagreed with nothing."""
        share = self.agreed_samples / self.settled_samples if self.settled_samples else 1.0
        return JobReport(
            node=node,
            key=self.key,
            uid=self.uid,
            directive=self.directive,
            memory=self.memory,
            plan=self.plan,
            reason=self.reason,
            started=self.started,
            ended=ended,
            end="epilog" if end == "epilog" else "gone",
            tiers={
                tier: TierUse(
                    byte_seconds=int(self.byte_seconds.get(tier, 0)),
                    peak=peak,
                    mean=int(self.byte_seconds.get(tier, 0) / self.watched) if self.watched else peak,
                )
                for tier, peak in self.peaks.items()
            },
            curve=curve,
            peak=self.peak,
            moves=self.moves,
            minor_faults=self.minor_faults,
            major_faults=self.major_faults,
            agreed=share,
            gaps=self.gaps,
            whole=True,
            oom_kills=self.oom_kills,
            movement=self.movement(),
            heat=self.heat,
            cpu_seconds=self.cpu_seconds,
        )

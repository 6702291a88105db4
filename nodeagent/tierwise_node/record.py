"""What the agent remembers of one job: its plan, and the sums over its samples that the report is made of.

Pure: time comes in with each sample. The journal keeps a record across restarts, so it is one flat struct.
"""

from collections.abc import Mapping

import msgspec

from tierwise.messages import JobReport, JobSample, PlanKey, TierUse, UsePoint
from tierwise.plans import Moves, Plan
from tierwise.tiers import TierName
from tierwise_node.cgroups import Usage

SECOND = 1_000_000_000
MAX_POINTS = 512
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
    final: bool = False
    """Whether the plan is made; until then the job runs as the kernel places it."""
    prologued: bool = False
    """The prolog told of this job: its epilog will, too."""
    tasked: bool = False
    """A task of this job has asked for its policy."""
    seen: int = 0
    """When its cgroup was last seen; 0: never yet."""
    found: dict[TierName, int] = {}
    suspended: bool = False
    watched: float = 0.0
    gaps: float = 0.0
    byte_seconds: dict[TierName, float] = {}
    peaks: dict[TierName, int] = {}
    peak: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    oom_kills: int = 0
    moves: Moves = Moves()
    growing: bool = False
    settles: int = 0
    """From then on what is found should agree with the plan: growth has stopped and the excess has had its time."""
    settled_samples: int = 0
    agreed_samples: int = 0
    resolution: float = 0.0
    """Seconds between two points of the curve; doubled when it is full."""
    next_point: float = 0.0
    points: int = 0

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
        self.suspended = usage.suspended

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
        )

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
        )

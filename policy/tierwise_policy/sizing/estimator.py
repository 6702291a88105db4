"""Estimates for a job from the history of its signature: memory and time, each with what it is based on."""

import math
from collections import OrderedDict

import msgspec

from tierwise.directive import ClassRequest, Request
from tierwise.units import MIB
from tierwise_policy.signature import Level, Signature
from tierwise_policy.sizing.experience import Experience
from tierwise_policy.sizing.learner import Learner
from tierwise_policy.sizing.models import MODELS

MAX_KINDS = 50_000
"""Keys that are remembered; the one that was not used for longest goes first."""
_SMALLEST_MEMORY = 32 * MIB
"""Below this, what a job uses is its shell and its libraries, and they vary."""
_SMALLEST_TIME = 60.0
_MEMORY_PRICE = 3.0
"""What a failed attempt costs besides what it wastes, as a share of the job's need: it waits in the queue again."""
_TIME_PRICE = 30.0
"""A time limit that is too long costs little (backfill), one that is too short costs the job."""
_AFTER_FAILURE = 2.0
_KERNEL_SHARE, _KERNEL_BYTES = 0.03, 32 * MIB
"""What a job's limit counts and its peak doesn't: page tables, sockets, the kernel's own records of its files."""
_LEVELS: dict[Level, str] = {
    "exact": "this script",
    "same script": "the same script elsewhere",
    "same name": "jobs of this name",
}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One ended job. `peak`, `asked` and `hot` (what took most of its accesses) are bytes on its largest node; the
    latter two and `input_bytes` are 0 where not known.

    Where a limit ended it (`out_of_memory`, `out_of_time`), `peak` or `seconds` is that limit: it needed more.
    """

    peak: float
    seconds: float
    hot: float = 0.0
    input_bytes: float = 0.0
    asked: float = 0.0
    out_of_memory: bool = False
    out_of_time: bool = False


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """What a job will need: bytes on each node and seconds, 0 where nothing is known; `basis` and `time_basis` say why.

    `memory` is its peak, `limit` what it lives under: what the kernel keeps for it is counted, too. `runs` counts what
    it rests on; `level` is exact, same script or same name.
    """

    memory: int
    limit: int
    seconds: float
    runs: int
    level: Level
    basis: str
    time_basis: str
    hot: int = 0
    """Bytes that will take most of the accesses; 0: not known."""

    @property
    def request(self) -> Request | None:
        """The classes to place such a job by: its hot part is LAT if it is at most half of the job, the rest CAP.

        None where that is not known or the hot part is larger: then there is nothing to tell apart (Algorithm 7).
        """
        if not 0 < self.hot <= self.memory / 2:
            return None
        return Request("classes", (ClassRequest("LAT", self.hot), ClassRequest("CAP")))


class _Kind:
    """What is known under one key."""

    def __init__(self, memory: Experience, hot: Experience, time: Experience) -> None:
        self.memory = Learner(memory, price=_MEMORY_PRICE, smallest=_SMALLEST_MEMORY)
        self.hot = Learner(hot, price=0.0, smallest=MIB)
        self.time = Learner(time, price=_TIME_PRICE, smallest=_SMALLEST_TIME)
        self.limit_at_least = 0.0
        self.seconds_at_least = 0.0


class Estimator:
    """Learns from ended jobs, and estimates the next. Estimating changes nothing."""

    def __init__(self) -> None:
        self._memory = Experience(_MEMORY_PRICE)
        self._hot = Experience(0.0)
        self._time = Experience(_TIME_PRICE)
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are known."""
        return len(self._kinds)

    def observe(self, signature: Signature, run: Run) -> None:
        """Learn from an ended job, under each key of its signature."""
        for key, _ in signature.keys:
            kind = self._kinds.get(key)
            if kind is None:
                kind = self._kinds[key] = _Kind(self._memory, self._hot, self._time)
            self._kinds.move_to_end(key)
            _learn(kind, run)
        while len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)

    def estimate(self, signature: Signature, *, input_bytes: float = 0.0, asked: float = 0.0) -> Estimate | None:
        """What the next job of this kind will need: from its exact key, else from the nearest that has a history.

        `asked` (bytes, 0: not known) bounds the estimate, unless past runs needed more. None without any history.
        """
        for key, level in signature.keys:
            if found := self.look_up(key, level, input_bytes=input_bytes, asked=asked):
                return found
        return None

    def look_up(self, key: str, level: Level, *, input_bytes: float = 0.0, asked: float = 0.0) -> Estimate | None:
        """The same from one key alone; `level` says which one it is."""
        kind = self._kinds.get(key)
        return _estimate(kind, level, input_bytes, asked) if kind else None


def _learn(kind: _Kind, run: Run) -> None:
    if run.out_of_memory:
        kind.limit_at_least = max(kind.limit_at_least, _AFTER_FAILURE * run.peak)
        return
    if run.out_of_time:
        kind.seconds_at_least = max(kind.seconds_at_least, _AFTER_FAILURE * run.seconds)
        return
    if run.peak > 0:
        kind.memory.learn(run.peak, run.input_bytes, max(run.seconds, 1.0), run.asked)
        kind.limit_at_least = 0.0
    if run.hot > 0:
        kind.hot.learn(run.hot, run.input_bytes, max(run.seconds, 1.0))
    kind.time.learn(max(run.seconds, 1.0), run.input_bytes, 1.0)
    kind.seconds_at_least = 0.0


def _estimate(kind: _Kind, level: Level, input_bytes: float, asked: float) -> Estimate:
    memory, basis = _sized(kind.memory, level, input_bytes, asked)
    hot, _ = _sized(kind.hot, level, input_bytes, 0.0)
    seconds, time_basis = _sized(kind.time, level, input_bytes, 0.0)
    limit = with_kernel(memory) if memory else 0
    if kind.limit_at_least > limit:
        limit = math.ceil(kind.limit_at_least)
        memory, basis = float(limit), "twice what the last run died with, out of memory"
    if kind.seconds_at_least > seconds:
        seconds, time_basis = kind.seconds_at_least, "twice the limit that ended the last run"
    runs = max(kind.memory.runs, kind.time.runs)
    return Estimate(int(memory), limit, seconds, runs, level, basis, time_basis, int(hot))


def with_kernel(peak: float) -> int:
    """The limit, in bytes and whole MiB, under which a job with such a peak lives."""
    return math.ceil((peak * (1 + _KERNEL_SHARE) + _KERNEL_BYTES) / MIB) * MIB


def _sized(learner: Learner, level: Level, at: float, asked: float) -> tuple[float, str]:
    if not learner.runs:
        return 0.0, ""
    size, model, margin = learner.size(at, asked)
    runs = "1 run" if learner.runs == 1 else f"{learner.runs} runs"
    return size, f"{runs} of {_LEVELS[level]}, {MODELS[model]}, +{margin * 100:g} %"

"""The rules, the same for every predictor: what it may see, what a failure costs, and how it goes on after one.

A task that gets less than its peak fails at its very end: the attempt wastes its whole allocation for the task's whole
time. It is tried again with twice the allocation until it fits; what the last attempt has too much is wasted too.
"""

import heapq
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sizing.traces import Submitted, Task

_GBH = 1e9 * 3600.0
_SMALLEST = 1e6
"""Bytes: no method gives less, so that doubling gets somewhere."""


class Predictor(Protocol):
    """A method under test. It is asked about a task before it learns what became of it."""

    def predict(self, task: Submitted) -> float:
        """Bytes for the first attempt."""

    def observe(self, task: Task) -> None:
        """A task has ended."""


@runtime_checkable
class Retries(Protocol):
    """A method that has its own answer to a failure, instead of doubling."""

    def retry(self, task: Submitted, failed: float) -> float:
        """Bytes for the next attempt, more than `failed`."""


@dataclass
class Score:
    """What a method did on one workflow. `waste` in GBh (of 1e9 bytes), times in seconds."""

    waste: float = 0.0
    tasks: int = 0
    failed: int = 0
    waste_own_retry: float = 0.0
    """The same with the method's own answer to a failure, where it has one, instead of doubling."""
    predict_times: list[float] = field(default_factory=list)

    @property
    def failure_ratio(self) -> float:
        """Tasks whose first attempt failed, of all."""
        return self.failed / self.tasks if self.tasks else 0.0

    def ask(self, task: Task, predictor: Predictor) -> None:
        """Ask a method about a task, and count what becomes of it."""
        started = time.perf_counter()
        first = max(predictor.predict(task.submitted), _SMALLEST)
        self.predict_times.append(time.perf_counter() - started)
        self.waste += wasted(task, first)
        self.waste_own_retry += wasted(task, first, predictor if isinstance(predictor, Retries) else None)
        self.tasks += 1
        self.failed += first < task.peak


def replay(tasks: Iterable[Task], predictor: Predictor) -> Score:
    """Run a workflow's tasks in order of submission past a method, which learns of each once it was asked about it."""
    score = Score()
    for task in tasks:
        score.ask(task, predictor)
        predictor.observe(task)
    return score


def replay_in_flight(tasks: Iterable[Task], predictor: Predictor) -> Score:
    """The same, but a method learns of a task only when it has ended: of many that are submitted at once, none."""
    score = Score()
    running: list[tuple[int, int, Task]] = []
    for number, task in enumerate(tasks):
        while running and running[0][0] <= task.submit:
            predictor.observe(heapq.heappop(running)[2])
        score.ask(task, predictor)
        heapq.heappush(running, (task.complete, number, task))
    return score


def wasted(task: Task, first: float, retries: Retries | None = None) -> float:
    """GBh that a task wastes when its first attempt gets `first` bytes, and later ones what `retries` says (double)."""
    allocation, waste = first, 0.0
    while allocation < task.peak:
        waste += allocation
        allocation = max(retries.retry(task.submitted, allocation), 1.01 * allocation) if retries else 2 * allocation
    return (waste + allocation - task.peak) * task.seconds / _GBH


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of `values` lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

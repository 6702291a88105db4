"""A replay: jobs arrive, are placed and run while the background changes; agents measure at the real policy's rate."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from tierwise.telemetry import Measurement, Utilisation
from tierwise_policy.sampling import FIRST, change, next_interval
from tierwise_sim.cluster import Node
from tierwise_sim.placement import Placement, Reported
from tierwise_sim.training import BASE_LATENCY, Training

STEP = 5.0
"""Seconds after which a running job looks at its nodes again."""
MEASURING = 0.001
"""CPU seconds that one measurement costs (measured of the real agent)."""
Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Ran:
    """One job: where, and how long it ran (waiting is not counted; it is the same for every placement)."""

    job: Training
    nodes: tuple[str, ...]
    seconds: float


class Replay:
    """One run of one cluster under one placement."""

    def __init__(self, nodes: Sequence[Node], jobs: Sequence[Training], placement: Placement) -> None:
        self._env = simpy.Environment()
        self._nodes, self._jobs, self._placement = list(nodes), jobs, placement
        self._reported: Reported = {node.name: [] for node in nodes}
        self._freed = self._env.event()
        self.ran: list[Ran] = []

    def run(self) -> list[Ran]:
        """All jobs, to their end."""
        for node in self._nodes:
            self._env.process(self._measure(node))
        done = self._env.process(self._submit())
        self._env.run(until=done)
        return self.ran

    def change(self, at: float, node: Node, background: Sequence[Any]) -> None:
        """Let a node's background become another one at a time."""
        self._env.process(self._change(at, node, background))

    def _change(self, at: float, node: Node, background: Sequence[Any]) -> Process:
        yield self._env.timeout(at)
        node.background = list(background)

    def _submit(self) -> Process:
        running = []
        for job in self._jobs:
            yield self._env.timeout(max(job.arrival - self._env.now, 0.0))
            while len(free := [node for node in self._nodes if node.slots > 0]) < job.workers:
                yield self._freed
            chosen = list(self._placement.choose(job, free, self._reported))
            for node in chosen:
                node.jobs.append(job.name)
            running.append(self._env.process(self._train(job, chosen)))
        yield self._env.all_of(running)

    def _train(self, job: Training, nodes: Sequence[Node]) -> Process:
        started, left = self._env.now, job.iterations
        met: list[list[tuple[Utilisation, Utilisation]]] = [[] for _ in nodes]
        while left > 0:
            seconds = job.iteration(nodes)
            for node, seen in zip(nodes, met, strict=True):
                node.own[job.name] = job.use(node, seconds)
                seen.append((node.others(), node.own[job.name]))
            some = min(left, max(int(STEP / seconds), 1))
            left -= some
            yield self._env.timeout(some * seconds)
        for node in nodes:
            node.jobs.remove(job.name)
            del node.own[job.name]
        self._freed.succeed()
        self._freed = self._env.event()
        took = self._env.now - started
        self._placement.ended(job, took, [seen[len(seen) // 2] for seen in met])
        self.ran.append(Ran(job, tuple(node.name for node in nodes), took))

    def _measure(self, node: Node) -> Process:
        """The agent of a node."""
        interval = FIRST
        last: Measurement | None = None
        while True:
            yield self._env.timeout(interval)
            latency = int((BASE_LATENCY + node.added_latency) * 1e9)
            now = Measurement(int(self._env.now * 1e9), interval, node.total(), node.others(), peers={"peers": latency})
            self._reported[node.name].append(now)
            interval = next_interval(interval, change(last, now) if last else 0.0, MEASURING)
            last = now

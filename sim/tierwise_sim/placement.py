"""Three ways to place a job: any free nodes, those with the least CPU load, or by the real selection policy.

All three only choose among nodes with a free GPU, and never let a job wait that could start.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Protocol

from tierwise.telemetry import Measurement, Utilisation
from tierwise_policy.selection import Candidate, Thresholds, Wanted, score, select, usual_latency, weights_for
from tierwise_policy.straggler import busy
from tierwise_policy.thresholds import Exposure, thresholds
from tierwise_sim.cluster import Node
from tierwise_sim.training import Training

Reported = dict[str, list[Measurement]]
"""What each node's agent has reported so far, oldest first."""


class Placement(Protocol):
    """Chooses `job.workers` of the nodes, which all have room."""

    def choose(self, job: Training, free: Sequence[Node], reported: Reported) -> Sequence[Node]:
        """The nodes for a job."""

    def ended(self, job: Training, seconds: float, met: Sequence[tuple[Utilisation, Utilisation]]) -> None:
        """A job took so long; on each of its nodes it met others' use and had its own."""


class Random:
    """Any nodes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311

    def choose(self, job: Training, free: Sequence[Node], reported: Reported) -> Sequence[Node]:
        """See Placement."""
        return self._random.sample(list(free), job.workers)

    def ended(self, job: Training, seconds: float, met: Sequence[tuple[Utilisation, Utilisation]]) -> None:
        """Learns nothing."""


class LeastLoaded(Random):
    """The nodes with the least CPU load, as last reported, whoever makes it; ties at random."""

    def choose(self, job: Training, free: Sequence[Node], reported: Reported) -> Sequence[Node]:
        """See Placement."""
        shuffled = self._random.sample(list(free), len(free))
        return sorted(shuffled, key=lambda node: _cpu(reported.get(node.name, ())))[: job.workers]


class Selected:
    """Tierwise: tierwise_policy.selection with thresholds from history and stragglers, on what agents reported."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._exposures: dict[str, list[Exposure]] = defaultdict(list)

    def choose(self, job: Training, free: Sequence[Node], reported: Reported) -> Sequence[Node]:
        """See Placement. What was dropped comes after what was chosen: Slurm would rather run the job than keep it."""
        candidates = {node.name: _candidate(node, reported.get(node.name, [])) for node in free}
        wanted = Wanted(nodes=job.workers, gpus=1)
        limits = Thresholds(thresholds(self._exposures[job.signature]), usual_latency(list(candidates.values())))
        weights = weights_for(wanted)
        verdicts = select(candidates.values(), wanted, limits, weights)
        order = [verdict.node for verdict in verdicts if verdict.score is not None]
        dropped = [verdict.node for verdict in verdicts if verdict.score is None]
        order += sorted(dropped, key=lambda name: (-score(candidates[name], weights), name))
        by_name = {node.name: node for node in free}
        return [by_name[name] for name in order[: job.workers]]

    def ended(self, job: Training, seconds: float, met: Sequence[tuple[Utilisation, Utilisation]]) -> None:
        """See Placement."""
        times = self._seconds[job.signature]
        times.append(seconds)
        slowdown = seconds / median(times)
        self._exposures[job.signature] += [Exposure(others, own, slowdown) for others, own in met]


def _cpu(history: Sequence[Measurement]) -> float:
    return history[-1].total.cpu if history else 0.0


def _candidate(node: Node, history: Sequence[Measurement]) -> Candidate:
    if not history:
        return Candidate(node.name, node.hardware, Utilisation())
    evidence = busy(history[-16:])
    return Candidate(
        node.name,
        node.hardware,
        history[-1].others,
        history[-1].latency_ns,
        evidence.text if evidence else "",
        evidence.number if evidence else 0.0,
        history[-1].own,
    )

"""Chapter 3's experiments: background load, scarce bandwidth, one far worker, busy GPUs; and all of it at once.

In each, some of the eight nodes are constrained and the others are not, as on the chapter's testbed; which ones, the
order of the jobs and when the background comes and goes change from seed to seed, and are the same for every placement.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log

from tierwise_sim.cluster import SERVER, Background, Node
from tierwise_sim.placement import LeastLoaded, Placement, Random, Selected
from tierwise_sim.replay import Replay
from tierwise_sim.training import BATCHES, MODELS, Training

NODES = 8
CONSTRAINED = 4
WORKERS = 3
LENGTH = 300.0
"""Seconds that a job would take alone."""
GAP = 60.0
SETTLED = 100.0
"""Seconds before the first job: agents have measured by then."""
Loads = dict[str, list[Background]]


@dataclass(frozen=True)
class Experiment:
    """One experiment at its levels. `constrain` changes a fresh cluster for one level, with this random source."""

    name: str
    text: str
    levels: tuple[float, ...]
    constrain: Callable[[Sequence[Node], float, random.Random], None]
    dissertation: str
    """What chapter 3 found against unaware placement."""


def _background(nodes: Sequence[Node], level: float, source: random.Random) -> None:
    """`level` of the CPUs of the constrained nodes is busy with background jobs."""
    for node in source.sample(list(nodes), CONSTRAINED):
        node.background = [Background()] * round(level / Background().cpu)


def _bandwidth(nodes: Sequence[Node], level: float, source: random.Random) -> None:
    """`level` Mb/s are left of the constrained nodes' links; other traffic has the rest, in four flows."""
    taken = 1.0 - level * 125_000 / SERVER.network
    for node in source.sample(list(nodes), CONSTRAINED):
        node.background = [Background(0.0, 0.0, 0.0, 0.0, taken / 4)] * 4 if taken > 0 else []


def _latency(nodes: Sequence[Node], level: float, source: random.Random) -> None:
    """One worker is `level` ms further away."""
    source.choice(list(nodes)).added_latency = level / 1000


def _gpu(nodes: Sequence[Node], level: float, source: random.Random) -> None:
    """`level` of the constrained nodes' GPUs is busy."""
    for node in source.sample(list(nodes), CONSTRAINED):
        node.background = [Background(0.02, 0.20, 0.01)] * round(level / 0.20)


def _everything(nodes: Sequence[Node], level: float, source: random.Random) -> None:
    """All of the above on different nodes; `level` scales it."""
    for node in source.sample(list(nodes), CONSTRAINED):
        node.background = [Background()] * round(level / Background().cpu)
    far = source.choice(list(nodes))
    far.added_latency = 0.02 * level
    slow = source.choice(list(nodes))
    slow.background = [*slow.background, *[Background(0.0, 0.0, 0.0, 0.0, level / 4)] * 4]


EXPERIMENTS = (
    Experiment(
        "background", "background load, 0 to 70 % CPU", tuple(step / 10 for step in range(8)), _background,
        "24 % less on average, up to 54 %",
    ),
    Experiment(
        "bandwidth", "bandwidth left, 100 Mb/s to 1 Gb/s", (100, 200, 300, 400, 500, 600, 700, 1000), _bandwidth,
        "42 % less (100 to 700 Mb/s)",
    ),
    Experiment("latency", "one worker 5 to 50 ms away", (5, 10, 20, 50), _latency, "36 to 54 % less"),
    Experiment("gpu", "GPUs 20 to 80 % busy", (0.2, 0.4, 0.6, 0.8), _gpu, "5 to 9 % less"),
    Experiment("mixed", "all of it, 20 to 70 %", (0.2, 0.5, 0.7), _everything, ""),
)  # fmt: skip
PLACEMENTS: dict[str, Callable[[int], Placement]] = {
    "random": Random,
    "least_loaded": LeastLoaded,
    "selected": lambda seed: Selected(),
}


def run_times(experiment: Experiment, level: float, placement: str, seed: int) -> dict[str, float]:
    """Seconds of each job, by name."""
    nodes = [Node(f"n{number}") for number in range(1, NODES + 1)]
    source = random.Random(f"{experiment.name}/{level}/{seed}")  # noqa: S311
    experiment.constrain(nodes, level, source)
    jobs = list(_jobs(source))
    replay = Replay(nodes, jobs, PLACEMENTS[placement](seed))
    for at, node, background in _wandering(nodes, source, until=jobs[-1].arrival):
        replay.change(at, node, background)
    return {one.job.name: one.seconds for one in replay.run()}


def ratio(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """Our run time over theirs, the geometric mean over the jobs."""
    return geometric_mean([ours[name] / theirs[name] for name in ours])


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive values."""
    return exp(sum(log(value) for value in values) / len(values))


def _jobs(source: random.Random) -> Iterator[Training]:
    """Each model at each batch size once, in random order: two or so run at a time."""
    kinds = [(model, batch) for model in MODELS for batch in BATCHES]
    source.shuffle(kinds)
    idle = [Node("idle")] * WORKERS
    arrival = SETTLED
    for model, batch in kinds:
        alone = Training("", model, batch, WORKERS, 1, 0.0).iteration(idle)
        yield Training(f"{model.name}/{batch}", model, batch, WORKERS, max(int(LENGTH / alone), 1), arrival)
        arrival += source.expovariate(1 / (LENGTH - GAP))


def _wandering(
    nodes: Sequence[Node], source: random.Random, until: float
) -> Iterator[tuple[float, Node, list[Background]]]:
    """Now and then a node's background moves to another node: what was measured once is not true for ever."""
    at = SETTLED
    loads: Loads = {node.name: list(node.background) for node in nodes}
    while (at := at + source.expovariate(1 / (2 * LENGTH))) < until:
        busy = [node for node in nodes if loads[node.name]]
        idle = [node for node in nodes if not loads[node.name]]
        if not busy or not idle:
            return
        one, other = source.choice(busy), source.choice(idle)
        loads[other.name], loads[one.name] = loads[one.name], []
        yield at, one, []
        yield at, other, loads[other.name]

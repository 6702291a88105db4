"""The simulated cluster: what is told to be slow is slow, placements see the same jobs, ours avoids what is busy."""

import random

import pytest

from tierwise_sim.cluster import GBIT, Background, Node
from tierwise_sim.experiments import EXPERIMENTS, run_times
from tierwise_sim.placement import Selected
from tierwise_sim.training import MODELS, Training

JOB = Training("job", MODELS[2], 64, 3, 100, 0.0)


def test_what_others_use_is_not_there_for_a_job() -> None:
    idle, busy = Node("n1"), Node("n2", background=[Background()] * 5)
    assert busy.gpu() == pytest.approx(1 / 6), "they want all of it: everybody gets a slice"
    assert busy.cores() == pytest.approx(12)
    assert (idle.bandwidth(), busy.bandwidth()) == (GBIT, GBIT)
    flows = Node("n3", background=[Background(0, 0, 0, 0, 0.2)] * 4)
    assert flows.bandwidth() == pytest.approx(0.2 * GBIT)
    assert flows.others().network == pytest.approx(0.8)


def test_an_iteration_takes_as_long_as_its_slowest_worker() -> None:
    nodes = [Node(f"n{number}") for number in range(3)]
    alone = JOB.iteration(nodes)
    nodes[0].background = [Background()] * 5
    busy = JOB.iteration(nodes)
    assert busy > 2 * alone
    nodes[1].added_latency = 0.05
    assert JOB.iteration(nodes) == pytest.approx(busy + 4 * 0.05)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_runs_can_be_repeated_and_ours_is_no_slower_than_chance(experiment) -> None:  # type: ignore[no-untyped-def]
    level = experiment.levels[-2]
    ours = run_times(experiment, level, "selected", 1)
    assert ours == run_times(experiment, level, "selected", 1)
    theirs = run_times(experiment, level, "random", 1)
    assert ours.keys() == theirs.keys()
    assert sum(ours.values()) < sum(theirs.values())


def test_selection_still_places_a_job_when_every_node_is_busy() -> None:
    nodes = [Node(f"n{number}", background=[Background()] * number) for number in range(8, 14)]
    random.Random(1).shuffle(nodes)
    assert len(Selected().choose(JOB, nodes, {})) == 3

"""Node selection and its thresholds: who is dropped and why, who comes first, and what history moves."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.telemetry import RESOURCES, Hardware, Utilisation
from tierwise.units import GIB
from tierwise_policy.selection import (
    Candidate,
    Thresholds,
    Wanted,
    score,
    select,
    usual_latency,
    weights_for,
)
from tierwise_policy.thresholds import BOUNDS, DEFAULT, Exposure, thresholds, usual

HARDWARE = Hardware(16, "model", 64 * GIB, {"eth0": 125_000_000}, ("P100",), 16 * GIB)
SHARES = st.floats(min_value=0.0, max_value=1.0)
LOADS = st.builds(Utilisation, cpu=SHARES, memory=SHARES, network=SHARES, gpu=SHARES, gpu_memory=SHARES)
USUAL = Thresholds(usual())


def node(name: str, latency_ns: int = 0, straggler: str = "", hardware: Hardware = HARDWARE, **use: float) -> Candidate:
    return Candidate(name, hardware, Utilisation(**use), latency_ns, straggler, 0.9 if straggler else 0.0)


def test_the_idlest_nodes_are_chosen_and_ties_go_by_name() -> None:
    nodes = [node("n3", cpu=0.1), node("n2"), node("n1"), node("n4", cpu=0.5)]
    verdicts = select(nodes, Wanted(nodes=2), USUAL)
    assert [verdict.node for verdict in verdicts] == ["n1", "n2", "n3", "n4"]
    assert [verdict.chosen for verdict in verdicts] == [True, True, False, False]
    assert verdicts[2].sentence.startswith("it suits, but 2 others score at least 1.000")


def test_among_equals_slurms_own_load_decides() -> None:
    packed = msgspec.structs.replace(node("n1"), own=Utilisation(cpu=0.5))
    assert select([packed, node("n2")], Wanted(), USUAL)[0].node == "n2"
    busy_network = node("n2", network=0.5)
    assert select([packed, busy_network], Wanted(), USUAL)[0].node == "n1", "it is no load, else"


@pytest.mark.parametrize(
    ("dropped", "words", "number"),
    [
        (node("n1", straggler="cpu 95% busy"), "it is a straggler: cpu 95% busy", 0.9),
        (node("n1", hardware=Hardware(2, "m", 64 * GIB)), "it has 2 CPUs, the job asks for 4", 2),
        (node("n1", hardware=Hardware(8, "m", GIB)), "it has 1 GiB, the job asks for 2 GiB", GIB),
        (node("n1", cpu=0.8), "its CPUs are 80% busy with what is not Slurm's, the threshold is 80%", 0.8),
        (node("n1", network=0.9), "its network is 90% busy with what is not Slurm's, the threshold is 80%", 0.9),
        (node("n1", latency_ns=5_000_000), "its peers are 5000 µs away, the threshold is 1000 µs", 5000),
    ],
)
def test_a_dropped_node_says_why_with_a_number(dropped: Candidate, words: str, number: float) -> None:
    wanted = Wanted(cpus=4, memory=2 * GIB, latency_ns=1_000_000)
    first, last = select([dropped, node("n2", cpu=0.79)], wanted, USUAL)
    assert (first.node, first.chosen) == ("n2", True)
    assert (last.sentence, last.number, last.score) == (words, number, None)


def test_a_link_of_unknown_speed_is_not_held_against_a_node() -> None:
    unknown = node("n1", hardware=Hardware(8, "m", GIB, {"eth0": 0}))
    assert select([unknown], Wanted(network=10**9), USUAL)[0].chosen
    slow = node("n1", hardware=Hardware(8, "m", GIB, {"eth0": 12_500_000}))
    assert not select([slow], Wanted(network=10**9), USUAL)[0].chosen


def test_what_a_job_asks_for_by_name_counts_twice() -> None:
    busy_network, busy_cpu = node("n1", network=0.5), node("n2", cpu=0.5)
    wanted = Wanted(network=1000)
    assert score(busy_network) > score(busy_cpu)
    assert score(busy_network, weights_for(wanted)) < score(busy_cpu, weights_for(wanted))


def test_the_usual_latency_follows_the_cluster() -> None:
    assert usual_latency([node("n1"), node("n2")]) == 0
    far = [node("n1", 10**6), node("n2", 10**6), node("n3", 50 * 10**6)]
    assert usual_latency(far) == 3 * 10**6


@given(st.lists(LOADS, max_size=12), st.integers(min_value=1, max_value=5), SHARES)
def test_every_node_has_one_verdict_and_the_chosen_score_best(
    loads: list[Utilisation], wanted: int, most: float
) -> None:
    nodes = [Candidate(f"n{number:02}", HARDWARE, load) for number, load in enumerate(loads)]
    verdicts = select(nodes, Wanted(nodes=wanted), Thresholds(dict.fromkeys(RESOURCES, most)))
    assert sorted(verdict.node for verdict in verdicts) == [one.name for one in nodes]
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    hundredths = [round(points, 2) for points in scores]
    assert all(first + 0.011 > second for first, second in pairwise(hundredths))
    assert sum(verdict.chosen for verdict in verdicts) == min(wanted, len(scores))
    assert all(0 <= points <= 1 for points in scores)


def runs(*pairs: tuple[float, float], own: float = 0.1) -> list[Exposure]:
    return [Exposure(Utilisation(cpu=busy), Utilisation(cpu=own), slow) for busy, slow in pairs]


def test_thresholds_come_from_history() -> None:
    assert thresholds(runs((0.9, 3.0))) == dict.fromkeys(RESOURCES, DEFAULT), "too few runs say nothing"
    idle = [(0.0, 1.0)] * 6
    assert thresholds(runs(*idle, own=0.3))["cpu"] == pytest.approx(0.7), "the job itself needs the rest"
    assert thresholds(runs(*idle, own=0.9))["cpu"] == BOUNDS[0]
    suffered = thresholds(runs(*idle, *[(0.6, 1.8)] * 6))
    assert suffered["cpu"] == pytest.approx(0.6), "its runs suffered from there on"
    unmoved = thresholds(runs(*idle, *[(0.85, 1.0)] * 6, own=0.3))
    assert unmoved["cpu"] == pytest.approx(0.85), "its runs did not suffer"


@given(st.lists(st.builds(Exposure, LOADS, LOADS, st.floats(min_value=0.1, max_value=50)), max_size=40))
def test_thresholds_stay_within_their_bounds(history: list[Exposure]) -> None:
    assert all(BOUNDS[0] <= share <= BOUNDS[1] for share in thresholds(history).values())

"""What marks a straggler and what frees it; how often a node is measured; the bands of the weights."""

from statistics import median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.telemetry import Measurement, Straggler, Utilisation
from tierwise_policy.bands import RECOVERED, WORSE, updates, weight, worse
from tierwise_policy.sampling import BUDGET, FIRST, LONGEST, SHORTEST, change, next_interval
from tierwise_policy.straggler import MIN_RUNS, SLOW, Evidence, busy, judge, slow

SECOND = 10**9


def measured(*loads: float, seconds: float = 30.0) -> list[Measurement]:
    return [
        Measurement(int(seconds) * SECOND * number, seconds, Utilisation(cpu=load), Utilisation(cpu=load))
        for number, load in enumerate(loads, 1)
    ]


def test_a_long_and_present_load_marks_a_node() -> None:
    evidence = busy(measured(0.9, 0.9, 0.95))
    assert evidence == Evidence("cpu 95% busy with what is not Slurm's, 90% over the last 60 s", 0.95)
    assert busy(measured(0.1, 0.1, 0.95)) is None, "its past was calm"
    assert busy(measured(0.9, 0.9, 0.2)) is None, "it is calm now"
    assert busy(measured(0.9, 0.9, 0.95, seconds=5.0)) is None, "too short"
    assert busy([]) is None
    assert busy(measured(*[0.0] * 60, *[1.0] * 10)), "what it did an hour ago is not held against its load"
    assert busy(measured(*[0.0] * 60, *[1.0] * 8)) is None, "but minutes are"


def test_a_mark_goes_when_the_load_has_gone_and_not_before() -> None:
    assert busy(measured(0.9, 0.9, 0.75), marked=True)
    assert not busy(measured(0.9, 0.9, 0.65), marked=True)


def test_slow_runs_mark_a_node_by_their_signatures_medians() -> None:
    slowdowns = {"n1": [1.0] * 10, "n2": [1.4] * 10, "n3": [1.1, 0.9] * 5}
    assert {node: round(found.number, 2) for node, found in slow(slowdowns).items()} == {"n2": 1.4}
    assert slow({"n1": [1.0] * 10, "n2": [9.0] * 7}) == {}, "too few runs"
    assert slow({"n2": [9.0] * 20}) == {}, "nothing to compare with"
    mild = {**slowdowns, "n2": [1.2] * 10}
    assert slow(mild) == {}
    assert set(slow(mild, marked=["n2"])) == {"n2"}, "not yet recovered"


@given(st.lists(st.floats(min_value=0.1, max_value=10), min_size=2, max_size=9))
def test_a_node_is_compared_with_the_others_alone(times: list[float]) -> None:
    slowdowns = {f"n{number}": [value] * MIN_RUNS for number, value in enumerate(times)}
    found = slow(slowdowns)
    for number, value in enumerate(times):
        others = times[:number] + times[number + 1 :]
        assert (f"n{number}" in found) == (value / median(others) >= SLOW)


def test_an_admins_word_goes_before_evidence_until_it_ends() -> None:
    found = [None, Evidence("slow", 2.0)]
    named = judge(100, None, "n1", found)
    assert named == Straggler("n1", "named", 100, "slow", 2.0)
    assert judge(200, named, "n1", found) == named, "it was named then"
    assert judge(200, named, "n1", []) is None, "its evidence has gone"
    pardoned = Straggler("n1", "pardoned", 100, "an admin's word", 0.0, until=300)
    assert judge(200, pardoned, "n1", found) == pardoned
    assert judge(300, pardoned, "n1", found) == msgspec.structs.replace(named, since=300)
    pinned = Straggler("n1", "pinned", 100, "an admin's word", 0.0)
    assert judge(10**18, pinned, "n1", []) == pinned


def test_measuring_slows_down_when_nothing_changes_and_hurries_under_change() -> None:
    interval = FIRST
    for _ in range(20):
        interval = next_interval(interval, 0.0, cost=0.001)
    assert interval == FIRST * LONGEST
    for _ in range(20):
        interval = next_interval(interval, 0.5, cost=0.001)
    assert interval == FIRST * SHORTEST
    one, other = measured(0.1, 0.4)
    assert change(one, other) == pytest.approx(0.3)


@given(
    st.floats(min_value=FIRST * SHORTEST, max_value=FIRST * LONGEST),
    st.floats(min_value=0, max_value=1),
    st.floats(min_value=0, max_value=0.1),
)
def test_measuring_stays_within_its_budget(interval: float, difference: float, cost: float) -> None:
    after = next_interval(interval, difference, cost)
    assert after >= FIRST * SHORTEST
    assert cost / after <= BUDGET * 1.0001
    assert after <= max(FIRST * LONGEST, cost / BUDGET)


@given(st.dictionaries(st.text(max_size=2), st.floats(min_value=0, max_value=1)), st.booleans())
def test_fewer_than_half_of_the_nodes_are_worse(scores: dict[str, float], before: bool) -> None:
    found = worse(scores, scores if before else ())
    assert len(found) * 2 <= len(scores)
    assert worse(scores) <= worse(scores, found)
    assert all(scores[node] < median(scores.values()) for node in found)


def test_a_score_that_trembles_changes_nothing() -> None:
    scores = {"n0": 1.0, "n1": 1.0, "n2": 1.0, "n3": 1.0 - WORSE - 0.01, "n4": 1.0 - (WORSE + RECOVERED) / 2}
    assert worse(scores) == {"n3"}
    assert worse(scores, {"n3", "n4"}) == {"n3", "n4"}
    assert worse({**scores, "n3": 1.0 - RECOVERED / 2}, {"n3"}) == set()
    assert worse({}) == set()


def test_weights_are_updated_where_they_are_not_what_they_should_be() -> None:
    assert weight(3, 1) == 3001
    assert updates({"n1": 1000, "n2": 1001, "n3": 1001}, {"n1": 1000, "n2": 1, "n3": 1}) == {1001: ["n2", "n3"]}

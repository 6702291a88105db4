"""Estimates from history: what is learned, from whom, and what is said about it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.units import GIB, MIB
from tierwise_policy.signature import signature
from tierwise_policy.sizing import Estimator, Run
from tierwise_policy.sizing.models import MODELS, levels
from tierwise_policy.sizing.waste import wasted

JOB = signature(1, script="quant -i x", job_name="quant", partition="all")
SIZES = st.lists(st.floats(1.0, 1e12), min_size=1, max_size=80)


def learned(*peaks: float, inputs: list[float] | None = None, seconds: float = 100.0) -> Estimator:
    """An estimator that has seen runs of JOB with these peaks."""
    estimator = Estimator()
    for number, peak in enumerate(peaks):
        estimator.observe(JOB, Run(peak=peak, seconds=seconds, input_bytes=inputs[number] if inputs else 0.0))
    return estimator


def memory(estimator: Estimator, **known: float) -> int:
    found = estimator.estimate(JOB, **known)
    assert found
    return found.memory


def test_nothing_is_said_without_history() -> None:
    assert Estimator().estimate(JOB) is None


def test_equal_runs_give_a_tight_estimate_that_says_its_basis() -> None:
    found = learned(*[2 * GIB] * 17).estimate(JOB)
    assert found
    assert 2 * GIB <= found.memory < 2.1 * GIB
    assert found.basis.startswith("17 runs of this script, the largest, +")
    assert found.runs == 17
    assert found.level == "exact"


def test_a_margin_grows_with_its_own_under_estimates() -> None:
    rng = np.random.default_rng(1)
    steady = learned(*(GIB * (1 + 0.001 * rng.random(40))))
    growing = learned(*(GIB * 1.03 ** np.arange(40)))
    assert memory(steady) < 1.05 * GIB
    assert memory(growing) > 1.03 * GIB * 1.03**39


def test_the_input_is_followed_where_it_explains_the_peak() -> None:
    sizes = [float(number % 10 + 1) * GIB for number in range(40)]
    estimator = learned(*(size / 2 for size in sizes), inputs=sizes)
    assert 1 * GIB <= memory(estimator, input_bytes=2.0 * GIB) < 1.3 * GIB
    assert 5 * GIB <= memory(estimator, input_bytes=10.0 * GIB) < 6 * GIB
    assert memory(estimator) >= 4 * GIB  # the input is not known: as for the large ones


def test_never_more_than_was_asked_for_unless_runs_needed_it() -> None:
    estimator = learned(GIB, 2 * GIB)
    assert memory(estimator, asked=2.0 * GIB) <= 2 * GIB
    assert memory(estimator, asked=1.0 * GIB) >= GIB


def test_another_script_is_estimated_from_the_nearest() -> None:
    estimator = learned(*[GIB] * 3)
    elsewhere = signature(1, script="quant -i x", job_name="renamed", partition="big")
    found = estimator.estimate(elsewhere)
    assert found
    assert found.level == "same script"
    assert found.basis.startswith("3 runs of the same script elsewhere")
    assert estimator.estimate(signature(2, script="quant -i x", job_name="quant")) is None


def test_a_run_that_died_of_memory_asks_for_twice_as_much_until_one_has_ended_well() -> None:
    estimator = learned()
    estimator.observe(JOB, Run(peak=GIB, seconds=10.0, out_of_memory=True))
    found = estimator.estimate(JOB)
    assert found
    assert found.limit == 2 * GIB
    estimator.observe(JOB, Run(peak=1.5 * GIB, seconds=100.0))
    assert 1.5 * GIB <= memory(estimator) < 2 * GIB


def test_a_run_out_of_time_asks_for_more_time() -> None:
    estimator = learned(GIB, seconds=600.0)
    estimator.observe(JOB, Run(peak=GIB, seconds=3600.0, out_of_time=True))
    found = estimator.estimate(JOB)
    assert found
    assert found.seconds == 7200
    assert "ended the last run" in found.time_basis


def test_time_limits_keep_more_distance_than_memory() -> None:
    rng = np.random.default_rng(2)
    estimator = Estimator()
    for noise in 1 + 0.2 * rng.random(30):
        estimator.observe(JOB, Run(peak=GIB * noise, seconds=1000 * noise))
    found = estimator.estimate(JOB)
    assert found
    assert found.seconds / 1200 >= found.memory / (1.2 * GIB)


def test_classes_come_from_the_part_that_took_the_accesses() -> None:
    estimator = Estimator()
    for _ in range(3):
        estimator.observe(JOB, Run(peak=8 * GIB, seconds=100.0, hot=2 * GIB))
    found = estimator.estimate(JOB)
    assert found
    assert found.request
    lat, cap = found.request.classes
    assert (lat.memory_class, cap.memory_class, cap.size) == ("LAT", "CAP", None)
    assert 2 * GIB <= (lat.size or 0) < 2.2 * GIB


@pytest.mark.parametrize("hot", [0, 6 * GIB])
def test_no_classes_where_no_part_stands_out(hot: int) -> None:
    estimator = Estimator()
    estimator.observe(JOB, Run(peak=8 * GIB, seconds=100.0, hot=hot))
    found = estimator.estimate(JOB)
    assert found
    assert found.request is None


def test_the_limit_has_room_for_what_the_kernel_keeps() -> None:
    found = learned(*[GIB] * 5).estimate(JOB)
    assert found
    assert found.limit >= 1.03 * found.memory + 32 * MIB
    assert found.limit % MIB == 0


def test_a_tiny_job_gets_what_a_shell_needs() -> None:
    assert memory(learned(MIB, MIB)) == 32 * MIB


@given(SIZES, st.floats(0, 1e12))
def test_levels_are_finite_and_never_below_the_smallest(values: list[float], at: float) -> None:
    found = levels(np.arange(len(values), dtype=float), np.array(values), at)
    assert found.shape == (len(MODELS),)
    assert np.isfinite(found).all()
    assert found.min() >= min(values)


@given(SIZES)
def test_an_estimate_is_a_size_whatever_came_before(values: list[float]) -> None:
    assert memory(learned(*values, inputs=values), input_bytes=values[0]) >= 32 * MIB


def test_waste_follows_the_rules() -> None:
    assert wasted(np.array([5.0, 2.0, 3.0]), 5.0) == pytest.approx([0, 2 + 4 + 3, 3 + 1])

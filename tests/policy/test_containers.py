"""Chapter 4's containers: the count grows until each fits, and where none can, that is said."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.units import GIB
from tierwise_policy.containers import Containers, Training, count_containers, training_memory, training_seconds

RESNET50 = Training(parameters=25_557_032, activations=11_100_000, batch=32, input_shape=(3, 224, 224), items=50_000)


def split(total: int, fixed: int = 0) -> object:
    return lambda count: fixed + -(-total // count)


def test_it_starts_with_two() -> None:
    found = count_containers(lambda _: GIB, 2 * GIB, 100)
    assert (found.count, found.memory, found.why_not) == (2, GIB, "")


def test_it_grows_by_what_is_over_the_limit() -> None:
    # c = 2: 16 GiB each, 8 limits too much of 2 GiB → + 7; c = 9: 3.6 → + 1; and so on until 2 GiB fit.
    found = count_containers(split(32 * GIB), 2 * GIB, 1000)  # type: ignore[arg-type]
    assert found.count == 16
    assert found.memory == 2 * GIB


def test_never_more_than_the_input_splits_into() -> None:
    found = count_containers(split(32 * GIB), 2 * GIB, 7)  # type: ignore[arg-type]
    assert found.count == 7
    assert "even of 7 containers" in found.why_not
    assert "2 GiB" in found.why_not


def test_a_model_larger_than_the_limit_is_said_and_ends() -> None:
    assert count_containers(split(GIB, fixed=3 * GIB), 2 * GIB, 10**9).why_not  # type: ignore[arg-type]


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 34), st.integers(1, 1 << 34), st.integers(1, 10**6))
def test_it_ends_within_its_bounds(total: int, fixed: int, limit: int, most: int) -> None:
    found = count_containers(split(total, fixed), limit, most)  # type: ignore[arg-type]
    assert 1 <= found.count <= most
    assert (found.memory <= limit) == (not found.why_not)


def test_what_a_training_step_keeps() -> None:
    small = Training(parameters=1000, activations=500, batch=10, input_shape=(8, 8), width=4, states=2)
    assert training_memory(small) - 280 * 10**6 == 4 * (4 * 1000 + 10 * (64 + 1000))


def test_a_known_model_has_a_plausible_estimate_that_the_split_brings_down() -> None:
    alone, shared = training_memory(RESNET50), training_memory(RESNET50, 10)
    assert 30 * GIB < alone < 36 * GIB  # 50,000 images of 588 KiB are 28 GiB
    assert alone - shared == pytest.approx(0.9 * 50_000 * 3 * 224 * 224 * 4, rel=0.01)
    assert 5 * GIB < shared < 7 * GIB  # a tenth of that, and what the model and a batch need


def test_time_by_cost() -> None:
    paid = Training(parameters=1, activations=1, batch=1, input_shape=(1,), cost=100.0, unit_cost=1e-9)
    assert training_seconds(paid, Containers(4, 10**9)) == pytest.approx(25.0)
    assert training_seconds(RESNET50, Containers(4, 10**9)) == 0


@pytest.mark.parametrize(("width", "depth", "batch"), [(256, 3, 512), (512, 4, 64), (128, 6, 2048)])
def test_the_estimate_is_near_what_real_steps_allocate(width: int, depth: int, batch: int) -> None:
    """A network of ReLU layers, trained by Adam in numpy: weights, gradients and states, activations and theirs."""
    job = Training(
        parameters=depth * width * width,
        activations=depth * width,
        batch=batch,
        input_shape=(width,),
        items=2 * batch,
    )
    tracemalloc.start()
    try:
        train(width, depth, batch, steps=3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert training_memory(job) - 280 * 10**6 == pytest.approx(peak, rel=0.35)


def train(width: int, depth: int, batch: int, steps: int) -> None:
    rng = np.random.default_rng(1)
    data = rng.random((2 * batch, width), np.float32)
    weights = [rng.random((width, width), np.float32) / width for _ in range(depth)]
    means = [np.zeros_like(weight) for weight in weights]
    squares = [np.zeros_like(weight) for weight in weights]
    for _ in range(steps):
        kept = [data[rng.permutation(2 * batch)[:batch]]]
        for weight in weights:
            kept.append(np.maximum(kept[-1] @ weight, 0))
        error = kept[-1] - 1
        gradients = []
        for layer in reversed(range(depth)):
            error *= kept[layer + 1] > 0
            gradients.append(kept[layer].T @ error)
            error = error @ weights[layer].T
        for weight, mean, square, gradient in zip(weights, means, squares, reversed(gradients), strict=True):
            np.add(mean, 0.1 * (gradient - mean), out=mean)
            np.add(square, 0.001 * (gradient * gradient - square), out=square)
            np.subtract(weight, 0.001 * mean / (np.sqrt(square) + 1e-8), out=weight)

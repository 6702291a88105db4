"""Heat: the hot part, trust, clipping, and the history, on sets of which we know what is hot."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_policy.heat import RANGE, Ranges, Window, clip, hot, hottest, shares, sizes, trustworthy, working_set
from tierwise_policy.heatmap import COLD, FRAMES, HOTTEST, NOTHING, RANGES, History, coarsen

PAGE = 4096
SAMPLES = 20


def evenly(heat: npt.ArrayLike, pages: int = 100, pid: int = 7, start: int = 1 << 46) -> Ranges:
    """Ranges that touch, of so many pages each."""
    values = np.asarray(heat, np.float32)
    ranges = np.zeros(len(values), RANGE)
    ranges["pid"], ranges["heat"] = pid, values
    ranges["start"] = start + np.arange(len(values), dtype=np.uint64) * np.uint64(pages * PAGE)
    ranges["end"] = ranges["start"] + np.uint64(pages * PAGE)
    return ranges


def sampled(chance: npt.ArrayLike, seed: int) -> npt.NDArray[np.float64]:
    """What 20 samples say of ranges that are accessed with these chances."""
    return np.random.default_rng(seed).binomial(SAMPLES, chance) / SAMPLES


def test_the_hottest_part_takes_its_share_of_the_accesses() -> None:
    ranges = evenly([0.1, 1.0, 0.0, 0.9])
    assert hottest(ranges)["heat"].tolist() == pytest.approx([1.0, 0.9])
    assert hottest(ranges, 0.4)["heat"].tolist() == pytest.approx([1.0])
    assert working_set(ranges) == 3 * 100 * PAGE
    assert len(hottest(evenly([0.0, 0.0]))) == len(hottest(evenly([]))) == 0


def test_a_hot_set_is_found_whole() -> None:
    ranges = evenly(np.where(np.arange(100) < 20, 0.9, 0.01))
    assert sizes(hottest(ranges)).sum() < sizes(ranges).sum() * 0.2
    assert sizes(hot(ranges)).sum() == sizes(ranges).sum() * 0.2


@pytest.mark.parametrize(
    ("name", "chance", "trusted"),
    [
        ("a fifth is hot", np.where(np.arange(400) % 400 < 80, 0.9, 0.02), True),
        ("six tenths are hot", np.where(np.arange(400) < 240, 0.9, 0.0), True),
        ("a fifth of each range is hot: hashed", np.full(400, 0.2), False),
        ("all is hot", np.full(400, 0.9), False),
        ("rarely touched at random", np.full(400, 0.02), False),
        ("Zipf by address", np.minimum(8 / np.arange(1, 401), 1), True),
        ("nothing is touched", np.zeros(400), False),
    ],
)
def test_trust_is_what_the_next_window_confirms(name: str, chance: npt.NDArray[np.float64], trusted: bool) -> None:
    verdicts = {trustworthy(evenly(sampled(chance, seed)), evenly(sampled(chance, seed + 1))) for seed in range(20)}
    assert verdicts == {trusted}, name


def test_holes_are_not_cold_memory() -> None:
    before = evenly([0.2, 0.2, 0.2, 0.2, 0.0])
    before["end"][4] += 1 << 40
    assert trustworthy(before, before)
    assert not trustworthy(before, before, resident=4 * 100 * PAGE)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 20), st.booleans()), max_size=30), st.integers(0, 2**32))
def test_clipping_keeps_what_lies_in_both(areas: list[tuple[int, int, bool]], seed: int) -> None:
    edges = np.unique([at for start, size, _ in areas for at in (start, start + size)]).astype(np.uint64) * np.uint64(
        PAGE
    )
    starts, ends = edges[0:-1:2], edges[1::2]
    ranges = evenly(np.random.default_rng(seed).random(40), pages=3, start=0)
    clipped = clip(ranges, starts, ends)
    pages = np.zeros(200)
    for each in ranges:
        pages[int(each["start"]) // PAGE : int(each["end"]) // PAGE] = each["heat"]
    inside = np.zeros(200, bool)
    for start, end in zip(starts, ends, strict=True):
        inside[int(start) // PAGE : int(end) // PAGE] = True
    found = np.zeros(200)
    for each in clipped:
        found[int(each["start"]) // PAGE : int(each["end"]) // PAGE] += each["heat"]
    assert found == pytest.approx(np.where(inside, pages, 0))


def test_shares_of_a_part() -> None:
    ranges = np.concatenate([evenly([1.0, 0.0]), evenly([0.5, 0.5], pid=8)])
    assert shares(evenly([1.0]), ranges) == pytest.approx((0.25, 0.5))
    assert shares(evenly([1.0], pages=50), ranges) == pytest.approx((0.125, 0.25))
    assert shares(evenly([1.0], pid=9), ranges) == (0.0, 0.0)


@given(st.integers(1, 600), st.integers(0, 2**32))
def test_coarsening_keeps_the_accesses(count: int, seed: int) -> None:
    ranges = evenly(np.random.default_rng(seed).random(count))
    coarse = coarsen(ranges, RANGES)
    assert len(coarse) <= RANGES
    assert sizes(coarse).sum() == sizes(ranges).sum()
    assert (sizes(coarse) * coarse["heat"]).sum() == pytest.approx((sizes(ranges) * ranges["heat"]).sum(), rel=1e-3)


def test_a_history_is_bounded_and_its_picture_shows_the_hot_set_move() -> None:
    history = History()
    for at in range(1000):
        heat = np.zeros(400)
        heat[at * 2 // 5 : at * 2 // 5 + 40] = 1
        ranges = np.concatenate([evenly(heat), evenly([0.0], pid=9)])
        history.add(Window(1, at, 2.0, ranges, "test", True))
    assert len(history.frames) <= FRAMES
    assert all(len(ranges) <= RANGES for _, ranges in history.frames)
    picture = history.picture(40, 50)
    assert picture.cells.shape == (40, len(picture.times))
    assert len(picture.times) <= 50
    assert picture.cells.max() == HOTTEST
    assert picture.cells.min() == COLD
    centres = [float(np.flatnonzero(column > 100).mean()) for column in picture.cells[:, :-6].T]
    assert centres == sorted(centres)
    assert picture.pids.tolist() == [7] * 40
    assert (picture.starts < picture.ends).all()


def test_the_picture_of_nothing() -> None:
    assert History().picture(10, 10).cells.size == 0
    history = History()
    history.add(Window(1, 1, 2.0, evenly([]), "test", False))
    history.add(Window(1, 2, 2.0, evenly([0.0, 1.0]), "test", False))
    assert history.picture(2, 10).cells.tolist() == [[NOTHING, COLD], [NOTHING, HOTTEST]]

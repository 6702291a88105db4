"""The benchmark's model of time, and the reading of what the memory clock counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiering.counts import LINE, Slices, sessions
from tiering.model import Machine, Program, fair_share, geometric_mean, times, variants

MACHINE = Machine(latency_ns=(80, 300), bandwidth=(20e9, 3e9), instruction_ns=0.2, overlap=4)


def slices(instructions: int, demand: tuple[int, int] = (0, 0), stream: tuple[int, int] = (0, 0)) -> Slices:
    return Slices(np.array([instructions]), np.array([demand]), np.array([stream]), np.zeros((1, 2), dtype=np.int64))


def alone(program: Program, machine: Machine = MACHINE) -> float:
    return times(machine, {"it": program})["it"]


def test_computing_takes_its_instructions() -> None:
    assert alone(Program(slices(10**9))) == pytest.approx(0.2)


def test_misses_wait_for_their_tier_and_overlap() -> None:
    bare = dataclasses.replace(MACHINE, bandwidth=(1e15, 1e15))
    fast = alone(Program(slices(0, demand=(10**6, 0))), bare)
    slow = alone(Program(slices(0, demand=(0, 10**6))), bare)
    assert fast == pytest.approx(10**6 * 80e-9 / 4)
    assert slow / fast == pytest.approx(300 / 80)


def test_a_stream_takes_its_bytes_and_spreading_it_takes_less() -> None:
    one = alone(Program(slices(0, stream=(0, 10**6))))
    spread = alone(Program(slices(0, stream=(869_565, 130_435))))
    assert one == pytest.approx(10**6 * LINE / 3e9)
    assert spread == pytest.approx(10**6 * LINE / 23e9, rel=0.01)


def test_a_fault_takes_the_disks_time() -> None:
    assert alone(Program(slices(0), disk_faults=7)) == pytest.approx(7 * 100e-6)


def test_two_streams_on_one_tier_slow_each_other_down() -> None:
    program = Program(slices(10**7, stream=(0, 10**6)))
    together = times(MACHINE, {"one": program, "other": program})
    assert together["one"] > 1.5 * alone(program)
    assert together["one"] == pytest.approx(together["other"], rel=0.05)


@given(
    counts=st.lists(st.tuples(*[st.integers(0, 10**7)] * 5), min_size=1, max_size=4),
    more=st.integers(1, 10**6),
)
def test_more_work_never_takes_less_time(counts: list[tuple[int, int, int, int, int]], more: int) -> None:
    table = np.array(counts)
    before = Slices(table[:, 0], table[:, 1:3], table[:, 3:5], np.zeros((len(table), 2), dtype=np.int64))
    after = dataclasses.replace(before, demand=before.demand + more)
    assert alone(Program(after)) >= alone(Program(before)) >= 0


@pytest.mark.parametrize(
    ("others", "share"), [((), 12), ((3,), 9), ((100,), 6), ((1, 100), 5.5), ((100, 100), 4), ((3, 4, 5), 3)]
)
def test_a_tier_is_shared_fairly(others: tuple[float, ...], share: float) -> None:
    assert fair_share(12, others) == pytest.approx(share)


def test_each_constant_is_varied_both_ways() -> None:
    found = dict(variants(MACHINE))
    assert len(found) == 11
    assert found["as stated"] == MACHINE
    assert len(set(found.values())) == 11


def test_the_geometric_mean() -> None:
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1)


FILE = """\
b 1 1000 10 5 1 2 3
i 1 5000 30 9 4 5 6
e 1 6000 40 9 5 5 6
i 0 4000 10 10 7 7 7
f 0 4500 11 10 7 7 7
f 1 6100 41 9 5 5 6
n 0 4500 11 10 7 7 7
n 1 6100 41 9 5 5 6
b 1 6200 41 9 5 5 6
e 1 7200 50 9 6 5 6
f 0 4600 12 10 7 7 7
f 1 7300 50 9 6 5 6
"""


def test_the_clocks_file_is_cut_into_sessions_and_programs() -> None:
    first, second = sessions(FILE.splitlines())
    assert first.program[1].instructions.tolist() == [4000, 1000]
    assert first.program[1].demand.tolist() == [[3], [1]]
    assert first.all[1].instructions.sum() == 6100
    assert first.all[0].instructions.tolist() == [4000, 500]
    assert second.program[1].instructions.tolist() == [1000]
    assert second.all[0].instructions.tolist() == [100]


def test_a_file_that_ends_too_early_is_refused() -> None:
    with pytest.raises(ValueError, match="not stopped"):
        sessions(FILE.splitlines()[:-3])

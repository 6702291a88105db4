"""The trackers' parts that need no kernel of their own: which processes, which blocks, and what the trace says."""

import mmap
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tierwise_node import pages
from tierwise_node.hotness.aggregations import Aggregations
from tierwise_node.hotness.kdamonds import EVENT, Kdamonds
from tierwise_node.hotness.processes import LARGEST, LOOKS, Processes
from tierwise_node.hotness.soft_dirty import BLOCKS, SMALLEST, _blocks, _remembering
from tierwise_policy.heat import clip, no_ranges, sizes

MIB = 1 << 20
TRACE = """\
       kdamond.0-206     [000] .N...    45.059296: damon_aggregated: target_id=0 nr_regions=2 4194304-8388608: 0 6
       kdamond.0-206     [000] .N...    45.059297: damon_aggregated: target_id=0 nr_regions=2 8388608-9437184: 20 8
       kdamond.1-207     [001] .....    45.060000: damon_aggregated: target_id=1 nr_regions=1 4096-8192: 7 1
       kdamond.0-206     [000] .....    47.228580: damon_aggregated: target_id=0 nr_regions=2 4194304-8388608: 1 0
       kdamond.0-206     [000] .....    47.228732: damon_aggregated: target_id=0 nr_regions=2 8388608-9437184: 19 9
CPU:1 [LOST 17 EVENTS]
       kdamond.2-208     [001] .....    47.300000: damon_aggregated: target_id=0 nr_regions=3 4096-8192: 7 1
       kdamond.0-206     [000] .....    49.228580: damon_aggregated: target_id=0 nr_regions=2 419430"""


def traced(folder: Path, text: str) -> Aggregations:
    """The reader on a recorded trace."""
    instance = folder / "instances/ours"
    (instance / EVENT).mkdir(parents=True)
    (instance / "trace_pipe").write_text(text)
    return Aggregations(folder, "ours")


def test_the_newest_whole_aggregation_of_each_target_is_read(tmp_path: Path) -> None:
    reader = traced(tmp_path, TRACE)
    found = reader.read()
    assert set(found) == {(206, 0), (207, 1)}
    assert found[206, 0].start.tolist() == [4194304, 8388608]
    assert found[206, 0].accesses.tolist() == [1, 19]
    assert found[206, 0].age.tolist() == [0, 9]
    assert reader.lost == 1
    with (tmp_path / "instances/ours/trace_pipe").open("a") as pipe:
        pipe.write("4-8388608: 2 1\n" + TRACE.splitlines()[1].replace("45.059", "49.228") + "\n")
    assert reader.read()[206, 0].accesses.tolist() == [2, 20]
    reader.close()


def test_a_kernel_without_damon_says_so(tmp_path: Path) -> None:
    assert Kdamonds(tmp_path / "journal", 4, admin=tmp_path / "nothing").problem()


def holding(mib: int) -> subprocess.Popen[bytes]:
    """A process with so much memory."""
    code = f"import time\nheld = b'1' * ({mib} << 20)\nprint('x', flush=True)\ntime.sleep(60)"
    process = subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_largest_processes_of_the_jobs_user_are_chosen() -> None:
    started = [holding(20), holding(40), subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)]
    try:
        processes = Processes(os.getuid())
        chosen = processes.look([each.pid for each in started])
        assert [each.pid for each in chosen] == [started[1].pid, started[0].pid]
        assert chosen[0].resident == pytest.approx(40 * MIB, rel=0.5)
        assert Processes(os.getuid() + 1).look([each.pid for each in started]) == []
        started[1].kill()
        started[1].wait()
        assert [each.pid for each in processes.look([each.pid for each in started])] == [started[0].pid]
    finally:
        for each in started:
            each.kill()
            each.wait()


def test_a_job_of_many_processes_is_looked_at_in_turns() -> None:
    large = holding(40)
    try:
        pids = [*range(10_000_000, 10_000_000 + 5 * LOOKS), large.pid]  # above pid_max: none of them is there
        processes = Processes(os.getuid())
        turns = [processes.look(pids) for _ in range(6)]
        assert processes.seen == 5 * LOOKS + 1
        assert all(len(chosen) <= LARGEST for chosen in turns)
        assert all([each.pid for each in chosen] == [large.pid] for chosen in turns)
    finally:
        large.kill()
        large.wait()


def test_blocks_cover_the_movable_areas_within_bounds() -> None:
    with mmap.mmap(-1, 64 * MIB) as memory:
        memory[0] = 1
        blocks = _blocks(os.getpid())
        areas = pages.movable(os.getpid(), 1 << 16)
        assert areas is not None
        starts, _ = areas
        bounds = np.array([pages.address_of(memory), pages.address_of(memory) + 64 * MIB], np.uint64)
        assert sizes(clip(blocks, bounds[:1], bounds[1:])).sum() == 64 * MIB
        assert (blocks["start"] < blocks["end"]).all()
        assert (blocks["end"][:-1] <= blocks["start"][1:]).all()
        assert len(blocks) <= BLOCKS + 2 * len(starts)
        inside = (blocks["start"] >= pages.address_of(memory)) & (blocks["end"] <= pages.address_of(memory) + 64 * MIB)
        assert inside.any()
        assert sizes(blocks)[inside].max() >= SMALLEST


def test_a_blocks_heat_is_remembered() -> None:
    now = _blocks(os.getpid())
    now["heat"] = 1.0
    first = _remembering(no_ranges(), now, 10.0)
    assert (first["heat"] == 1.0).all()
    now["heat"] = 0.0
    second = _remembering(first, now[1:], 10.0)
    assert second["heat"] == pytest.approx(np.full(len(now) - 1, 0.7))
    third = _remembering(now, now, 10.0)
    assert (third["age"] == 10.0).all()

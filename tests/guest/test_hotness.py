"""What is hot, found by a real kernel: on processes of which we know it, and by an agent that is killed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, until

from tierwise.errors import RefusedError
from tierwise.units import MIB
from tierwise_lab.touch import PAGE, hot_pages
from tierwise_node.cgroups import Cgroups
from tierwise_node.hotness.damon import Damon
from tierwise_node.hotness.kdamonds import ADMIN, MODULES, Attributes, tracing
from tierwise_node.hotness.soft_dirty import SoftDirty
from tierwise_node.hotness.tracking import Tracking
from tierwise_policy.heat import Ranges, clip, hot, sizes, trustworthy

NODE = "hot"
QUICK = Attributes(sample=0.05, samples=20, least_regions=50, most_regions=400)
WINDOWS = 20
"""Aggregations within which a hot set has to be found."""


@dataclass
class Load:
    """A process that touches what we know; see tierwise_lab.touch."""

    process: subprocess.Popen[str]
    manner: str
    hot: int
    jumps: int = 0

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        address, count = self.process.stdout.readline().split()
        self.address, self.pages = int(address), int(count)

    @property
    def pid(self) -> int:
        return self.process.pid

    def own(self, ranges: Ranges) -> Ranges:
        """The part of the ranges that lies in the memory of which we know what is hot."""
        of_it = ranges[ranges["pid"] == self.pid]
        end = self.address + self.pages * PAGE
        return clip(of_it, np.array([self.address], np.uint64), np.array([end], np.uint64))

    def judge(self, found: Ranges) -> tuple[float, float]:
        """Precision and recall of ranges that are said to be hot."""
        said, truth = np.zeros(self.pages, bool), np.zeros(self.pages, bool)
        truth[hot_pages(self.pages, self.manner, self.hot * MIB // PAGE, self.jumps)] = True
        for each in self.own(found):
            said[(int(each["start"]) - self.address) // PAGE : (int(each["end"]) - self.address) // PAGE] = True
        both = float((said & truth).sum())
        return both / max(float(said.sum()), 1), both / float(truth.sum())


def command(mib: int, manner: str, hot_mib: int) -> list[str]:
    """A load's command line."""
    return [sys.executable, "-m", "tierwise_lab.touch", str(mib), manner, str(hot_mib), "--flush"]


@contextlib.contextmanager
def running(manner: str) -> Iterator[Load]:
    """A load of 160 MiB, a fifth of it hot."""
    process = subprocess.Popen(command(160, manner, 32), stdout=subprocess.PIPE, text=True)
    try:
        yield Load(process, manner, 32)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def damon(tmp_path: Path) -> Iterator[Damon]:
    tracker = Damon(tmp_path / "kdamonds.json", NODE, pace=QUICK)
    assert tracker.problem() == ""
    yield tracker
    tracker.stop()
    assert kdamonds() == []
    assert (ADMIN / "kdamonds/nr_kdamonds").read_text().strip() == "0"
    place = tracing()
    assert place is not None
    assert not (place / f"instances/tierwise-{NODE}").exists()


def kdamonds() -> list[str]:
    """The kdamonds that run."""
    running = []
    for state in (ADMIN / "kdamonds").glob("*/state"):
        with contextlib.suppress(OSError):  # an agent has just given it back: ENOENT, or ENODEV once it is open
            if state.read_text().strip() == "on":
                running.append(str(state))
    return running


def pids() -> list[str]:
    """The kdamonds' pids."""
    return [each.read_text() for each in sorted((ADMIN / "kdamonds").glob("*/pid"))]


def test_damon_finds_a_hot_set_and_knows_when_it_can_not(damon: Damon) -> None:
    with running("contiguous") as near, running("hashed") as far:
        damon.follow({1: [near.pid], 2: [far.pid]}, 1)
        assert len(kdamonds()) == 2
        last: dict[int, Ranges] = {}
        verdicts: dict[int, list[bool]] = {near.pid: [], far.pid: []}

        def found() -> bool:
            for pid, seen in damon.read().items():
                load = near if pid == near.pid else far
                ranges = load.own(seen.ranges)
                if pid in last:
                    verdicts[pid].append(trustworthy(last[pid], ranges))
                last[pid] = ranges
            if len(verdicts[near.pid]) < 3 or len(verdicts[far.pid]) < 3:
                return False
            return min(near.judge(hot(last[near.pid]))) >= 0.9 and verdicts[near.pid][-1]

        until(found, "the hot set to be found", WINDOWS * QUICK.aggregation)
        precision, _ = far.judge(hot(last[far.pid]))
        assert precision < 2 * 0.2
        assert not any(verdicts[far.pid][-2:])
        assert sum(sizes(last[near.pid])) == pytest.approx(160 * MIB, rel=0.05)
        assert damon.hurries
        begun = pids()

        def slower() -> bool:
            damon.follow({1: [near.pid], 2: [far.pid]}, 1)
            return not damon.hurries

        until(slower, "the kdamonds to look less often", 20)
        damon.read()
        seen = until(lambda: damon.read().get(near.pid), "a longer window", 20)
        assert pids() == begun, "they began anew"
        assert seen.seconds == QUICK.aggregation
        assert near.judge(hot(near.own(seen.ranges)))[1] >= 0.9, "what was found was lost"


def test_a_process_that_has_ended_hides_no_other(damon: Damon) -> None:
    gone, sleeper = subprocess.Popen(["true"]), subprocess.Popen(["sleep", "60"])
    gone.wait()
    try:
        damon.follow({1: [gone.pid], 2: [gone.pid, sleeper.pid], 3: [sleeper.pid]}, 1)
        assert len(kdamonds()) == 1
        damon.follow({2: [sleeper.pid]}, 1)
        assert len(kdamonds()) == 1
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_foreign_kdamond_is_never_touched(damon: Damon, tmp_path: Path) -> None:
    (ADMIN / "kdamonds/nr_kdamonds").write_text("1")
    try:
        assert "somebody else's" in damon.problem()
    finally:
        (ADMIN / "kdamonds/nr_kdamonds").write_text("0")
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        damon.follow({1: [sleeper.pid]}, 1)
        assert len(kdamonds()) == 1
        another = Damon(tmp_path / "another.json", "another")
        assert "somebody else's" in another.problem()
        another.stop()
        assert len(kdamonds()) == 1
    finally:
        sleeper.kill()
        sleeper.wait()


def test_while_a_module_of_the_kernel_has_damon_it_is_not_used(damon: Damon) -> None:
    enabled = MODULES / "damon_reclaim/parameters/enabled"
    enabled.write_text("Y")
    try:
        assert "damon_reclaim" in damon.problem()
        with pytest.raises(OSError, match="busy"):
            damon.follow({1: [os.getpid()]}, 1)
    finally:
        enabled.write_text("N")
    until(lambda: not damon.problem(), "DAMON to be free")
    damon.follow({1: [os.getpid()]}, 1)
    assert len(kdamonds()) == 1


def test_another_tracker_is_chosen_when_somebody_takes_damon_from_us(tmp_path: Path, cgroups: JobCgroups) -> None:
    count = ADMIN / "kdamonds/nr_kdamonds"
    tracking = Tracking((lambda: Damon(tmp_path / "kdamonds.json", NODE), lambda: SoftDirty(period=0.1)))
    cgroups.make(3)
    group = Cgroups(NODE).jobs()[3]
    first = cgroups.hold(3, 40)
    tracking.turn({3: group}, {3: NOBODY})
    assert tracking.tracker == "damon"
    first.kill()
    first.wait()
    until(lambda: not kdamonds(), "the kdamond to end with its process")
    count.write_text("1")
    try:
        cgroups.hold(3, 40)
        tracking.turn({3: group}, {3: NOBODY})
        assert tracking.tracker == "soft-dirty"
        tracking.stop()
        assert count.read_text() == "1\n"
    finally:
        count.write_text("0")
        cgroups.remove(3)


def test_soft_dirty_finds_what_is_written(tmp_path: Path) -> None:
    tracker = SoftDirty(period=2.0)
    assert tracker.problem() == ""
    code = "import mmap, sys; m = mmap.mmap(-1, 64 << 20)\nm[::4096] = bytes(16384)\nprint('x', flush=True)\n"
    code += "while True: m[: 8 << 20 : 4096] = bytes(2048)\n"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        tracker.follow({1: [writer.pid]}, 1)
        seen = until(lambda: tracker.read().get(writer.pid), "a look", 30)
        assert sizes(hot(seen.ranges)).sum() == pytest.approx(8 * MIB, rel=0.3)
    finally:
        writer.kill()
        writer.wait()


def test_an_agent_sees_its_jobs_heat_and_leaves_no_kdamond_even_when_killed(
    agent: AgentProcess, cgroups: JobCgroups
) -> None:
    cgroups.make(1)
    agent.ask(op="task", job_id=1, step=0, uid=NOBODY, tier="cap", mem=300 * MIB)
    load = Load(cgroups.start(1, command(160, "contiguous", 32)), "contiguous", 32)
    seen = until(lambda: heatmap(agent, 1, hot=32), "its hot set to be seen and believed", 120)
    assert seen["tracker"] == "damon"
    assert load.pid in {row["pid"] for row in seen["rows"]}
    begun = time.monotonic()
    agent.end(signal.SIGKILL)
    assert kdamonds()
    agent.start()
    until(lambda: heatmap(agent, 1), "a window of the agent after", 120)
    assert len(kdamonds()) == 1
    cgroups.remove(1)
    agent.ask(op="epilog", job_id=1, uid=NOBODY)
    report = agent.reports()[-1]
    assert report["heat"]["windows"] >= 1
    assert report["heat"]["working_set"] > 0
    until(lambda: not kdamonds(), f"the kdamond to end; {time.monotonic() - begun:.0f} s since the kill")
    agent.close()  # the module's last test
    assert (ADMIN / "kdamonds/nr_kdamonds").read_text().strip() == "0"


def heatmap(agent: AgentProcess, job_id: int, hot: int = 0) -> dict[str, Any]:
    """op=heatmap, decoded; empty where there is none, or none that is trusted and says that about `hot` MiB are hot."""
    try:
        found: dict[str, Any] = json.loads(agent.ask(op="heatmap", job_id=job_id)["json"])
    except RefusedError:
        return {}
    about = 0.5 * hot * MIB < found["hot"] < 1.5 * hot * MIB
    return found if not hot or (found["trusted"] and about) else {}

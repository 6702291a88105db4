"""Pages follow the work, on real tiers: promotion, demotion, making way, pins. Programs are those of `moving`."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, hand_made, until
from moving import User, flushed

from tierwise.units import MIB

NODE = "moving"
DRAM, PMEM, CXL = 0, 1, 2
LIMIT = 64 * MIB
job_ids = itertools.count(2000)
HOG = """
import mmap, sys, time
size = int(sys.argv[1]) << 20
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(mmap.MADV_HUGEPAGE)
held[::1 << 20] = b"1" * (size >> 20)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def cgroups() -> Iterator[JobCgroups]:
    """Cgroups of this module's jobs."""
    with flushed():
        yield from hand_made(NODE)


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    """One agent for the module, on a tenth of each tier, that moves LIMIT bytes a second."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        Path(folder).chmod(0o755)
        settings = {"sample_interval": 0.5, "capacity_share": 0.1, "move_limit": LIMIT}
        running = AgentProcess(Path(folder), NODE, settings)
        running.start()
        yield running
        running.close()


@pytest.fixture
def jobs(agent: AgentProcess, cgroups: JobCgroups) -> Iterator[list[int]]:
    """Two jobs."""
    numbers = [next(job_ids), next(job_ids)]
    for number in numbers:
        cgroups.make(number)
    yield numbers
    for number in numbers:
        cgroups.remove(number)
        agent.ask(op="epilog", job_id=number, uid=NOBODY)


def task(agent: AgentProcess, job_id: int, directive: str, mib: int) -> dict[str, str]:
    """What SPANK asks, and is answered, when the first task starts."""
    return agent.ask(op="task", job_id=job_id, step=0, uid=NOBODY, tier=directive, mem=mib * MIB)


def preferring(node: int) -> tuple[str, ...]:
    """A command prefix: allocate on `node`."""
    return ("numactl", f"--preferred={node}")


def events(agent: AgentProcess, job_id: int) -> list[dict[str, Any]]:
    """What the agent did for a job."""
    found: list[dict[str, Any]] = json.loads(agent.ask(op="events", since=0, job_id=job_id)["json"])
    return found


def test_pages_follow_the_work_of_a_job_with_a_mixed_plan_and_of_one_without_a_plan(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    """The agent has a tenth of 2 GiB of DRAM: the jobs' hot sets fit there, their cold memory does not."""
    planned, free = jobs
    task(agent, planned, "lat:32M,cap", 160)
    first = User(cgroups, planned, 150, 30, at=100, prefix=preferring(DRAM))
    second = User(cgroups, free, 160, 40, at=60, prefix=preferring(CXL))
    until(lambda: second.share(60, 40, DRAM) > 0.95, f"the hot set without a plan: {events(agent, free)}", 120)
    until(lambda: first.share(100, 30, DRAM) > 0.95, f"the planned one: {events(agent, planned)}", 120)
    until(lambda: agent.job(planned)["agrees"], "the plan", 60)
    assert first.share(0, 100, CXL) > 0.9
    assert second.share(0, 60, DRAM) < 0.1
    first.use(20, 30)
    until(lambda: first.share(20, 30, DRAM) > 0.95, f"it to be followed: {events(agent, planned)}", 120)
    until(lambda: agent.job(planned)["agrees"], "the plan again", 60)
    assert first.share(60, 80, DRAM) < 0.05
    assert {"hot", "cold"} <= {event["why"] for event in events(agent, planned)}
    movement = agent.job(planned)["movement"]
    assert movement["promoted"] > 0
    assert movement["demoted"] > 0


def test_a_lat_job_gets_room_from_a_bw_job_and_gives_it_back(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    free = json.loads(agent.ask(op="status")["json"])["tiers"][0]["free"] // MIB
    task(agent, jobs[0], "bw", free * 3 // 2)
    before = agent.job(jobs[0])["plan"]["parts"][0]["tiers"]
    answer = task(agent, jobs[1], "lat", free // 2)
    assert answer["degraded"] == ""
    changed = agent.job(jobs[0])["plan"]
    assert changed["parts"][0]["tiers"]["dram"] < before["dram"]
    assert "gave way on dram" in changed["degraded"][-1]
    assert sum(changed["parts"][0]["tiers"].values()) == sum(before.values())
    cgroups.hold(jobs[0], 20)
    agent.ask(op="epilog", job_id=jobs[1], uid=NOBODY)
    until(lambda: agent.job(jobs[0])["plan"]["parts"][0]["tiers"]["dram"] == before["dram"], "it to be given back")


def test_a_job_that_grows_beyond_its_plan_gets_more(agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]) -> None:
    task(agent, jobs[0], "cap", 30)
    assert agent.job(jobs[0])["plan"]["parts"][0]["size"] == 30 * MIB
    cgroups.hold(jobs[0], 60, prefix=preferring(DRAM))
    until(lambda: agent.job(jobs[0])["found"].get("cxl", 0) > 58 * MIB, "the growth to be planned and moved", 60)
    assert agent.job(jobs[0])["plan"]["parts"][0]["size"] >= 60 * MIB


def test_pins_hold_or_are_repaired_while_a_hog_fills_every_tier(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    hard, soft = jobs
    task(agent, hard, "lat", 60)
    task(agent, soft, "lat:60M,cap", 80)
    for job_id in jobs:
        cgroups.hold(job_id, 50, prefix=preferring(DRAM))
        until(lambda job_id=job_id: agent.job(job_id)["found"].get("dram", 0) > 50 * MIB, "its memory")
    assert [agent.job(job_id)["movement"]["pin"] for job_id in jobs] == ["hard", "soft"]
    job = cgroups.folders(hard)[0]
    assert int((job / "memory.min").read_text()) == int((job / "step_0/memory.min").read_text()) >= 60 * MIB
    assert int((job.parents[1] / "memory.min").read_text()) >= 60 * MIB
    with demotion(), hog():
        until(lambda: demoted() > 0, "the kernel to demote pages", 60)
        pinned = sum(part["pinned"] for part in agent.job(soft)["plan"]["parts"])
        until(lambda: agent.job(soft)["found"]["dram"] >= pinned, "the soft pin", 30)
    movement = agent.job(hard)["movement"]
    assert movement["broken_pins"] == 0
    assert agent.job(hard)["found"]["dram"] >= 50 * MIB
    agent.ask(op="epilog", job_id=hard, uid=NOBODY)
    until(lambda: (job.parents[1] / "memory.min").read_text() == "0\n", "the ancestors to be given back")
    agent.ask(op="epilog", job_id=soft, uid=NOBODY)
    report = agent.reports()[-1]["movement"]
    assert report["broken_pins"] == report["repaired_pins"]
    assert report["pin"] == "soft"


@contextmanager
def demotion() -> Iterator[None]:
    """The kernel demotes what it reclaims."""
    switch = Path("/sys/kernel/mm/numa/demotion_enabled")
    before = switch.read_text()
    switch.write_text("1")
    try:
        yield
    finally:
        switch.write_text(before)


@contextmanager
def hog() -> Iterator[None]:
    """A process of no job that takes DRAM first and then nearly all that the others have."""
    nodes = [Path(f"/sys/devices/system/node/node{node}/meminfo").read_text() for node in (DRAM, PMEM, CXL)]
    free = sum(int(re.search(r"MemFree: +(\d+)", text)[1]) for text in nodes) >> 10
    argv = [*preferring(DRAM), "python3", "-I", "-c", HOG, str(free - 200)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()


def demoted() -> int:
    """Pages that the kernel has demoted since it booted."""
    counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return sum(int(count) for name, count in counts.items() if name.startswith("pgdemote_"))

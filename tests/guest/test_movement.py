"""Pages follow the work, on real tiers: promotion, demotion, making way, pins. Programs are those of `moving`."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, hand_made, running_agent, until
from moving import User, flushed

from tierwise.units import MIB

NODE = "moving"
DRAM, PMEM, CXL = 0, 1, 2
SLOWER = (PMEM, CXL)
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


MOST = 0.85
"""Of a hot set of fifteen huge pages, those at its two edges may be taken for their cold neighbours: bench-hotness says
how well it is found."""


@pytest.fixture(scope="module")
def cgroups() -> Iterator[JobCgroups]:
    """Cgroups of this module's jobs."""
    with flushed():
        yield from hand_made(NODE)


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    """One agent for the module, on a fifth of each tier, that moves LIMIT bytes a second."""
    settings = {"sample_interval": 0.5, "capacity_share": 0.2, "move_limit": LIMIT}
    with running_agent(NODE, settings) as running:
        yield running


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


def test_hot_sets_come_up_without_a_plan_and_beyond_one_and_cold_memory_stays(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    task(agent, jobs[1], "lat:20M,cap", 100)
    least = MOST * 30 * MIB // 4096  # counted once a piece has been looked for again: after it is there
    free, mixed = (User(cgroups, job_id, 100, 30, at=40, prefix=preferring(CXL)) for job_id in jobs)
    for user, job_id in ((free, jobs[0]), (mixed, jobs[1])):
        until(lambda user=user: user.share(40, 30, DRAM) > MOST, f"its hot set: {events(agent, job_id)}", 300)
        until(lambda user=user: user.share(0, 40, DRAM) < 0.2, "its cold memory to stay on the slow tier", 120)
        why = [event["why"] for event in events(agent, job_id)]
        until(lambda job_id=job_id: "hot" in {event["why"] for event in events(agent, job_id)}, f"hot among {why}")
        until(lambda job_id=job_id: agent.job(job_id)["movement"]["promoted"] >= least, "it to be counted")
    assert agent.job(jobs[1])["plan"]["parts"][0]["tiers"] == {"dram": 20 * MIB}
    mixed.use(70, 30)
    until(lambda: mixed.share(70, 30, DRAM) > MOST, f"the jump: {events(agent, jobs[1])}", 300)


def test_a_lat_job_gets_room_from_a_bw_job_and_gives_it_back(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    looks: deque[int] = deque(maxlen=16)

    def steady() -> int:
        """Free MiB, once what the test before this one held has gone."""
        looks.append(json.loads(agent.ask(op="status")["json"])["tiers"][0]["free"] // MIB)
        return looks[-1] if len(looks) == 16 and max(looks) - min(looks) < 8 else 0

    free = until(steady, "memory to be freed")
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
    until(lambda: agent.job(jobs[0])["found"].get("cxl", 0) > 58 * MIB, "the growth to be planned and moved")
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
        until(lambda: has_demoted(job.parents[0]), "the kernel to demote pages")
        pinned = sum(part["pinned"] for part in agent.job(soft)["plan"]["parts"])
        until(lambda: agent.job(soft)["found"]["dram"] >= pinned, "the soft pin")
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
    """Little is left of the slower tiers, and a process of no job takes nearly all that the others have.

    What is set aside in huge pages costs no time, what a process takes has to be cleared.
    """
    pools = [Path(f"/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages") for node in SLOWER]
    for node, pool in zip(SLOWER, pools, strict=True):
        pool.write_text(str((free_mib(node) - 100) // 2))
    argv = [*preferring(DRAM), "python3", "-I", "-c", HOG, str(sum(map(free_mib, (DRAM, *SLOWER))) - 200)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()
        for pool in pools:
            pool.write_text("0")


def free_mib(node: int) -> int:
    """Free MiB of a NUMA node."""
    text = Path(f"/sys/devices/system/node/node{node}/meminfo").read_text()
    return int(re.search(r"MemFree: +(\d+)", text)[1]) >> 10


def has_demoted(group: Path) -> bool:
    """Whether the kernel has demoted pages. A hog that fills slowly may not press it to: it is asked to reclaim some of
    the jobs below a cgroup, of which what is protected stays."""
    if not demoted():
        with suppress(BlockingIOError):
            (group / "memory.reclaim").write_text(str(8 * MIB))
    return demoted() > 0


def demoted() -> int:
    """Pages that the kernel has demoted since it booted."""
    counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return sum(int(count) for name, count in counts.items() if name.startswith("pgdemote_"))

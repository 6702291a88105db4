"""Pages follow the work, on real tiers: promotion, demotion, making way, pins. Programs are those of `moving`."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, hand_made, until
from moving import User, flushed

from tierwise.units import MIB

NODE = "moving"
DRAM, PMEM, CXL = 0, 1, 2
LIMIT = 16 * MIB
job_ids = itertools.count(2000)


@pytest.fixture(scope="module")
def cgroups() -> Iterator[JobCgroups]:
    """Cgroups of this module's jobs."""
    with flushed():
        yield from hand_made(NODE)


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    """One agent for the module, on a fifth of each tier, that moves LIMIT bytes a second."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        Path(folder).chmod(0o755)
        settings = {"sample_interval": 0.5, "capacity_share": 0.2, "move_limit": LIMIT}
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


def test_the_hot_set_of_a_mixed_plan_is_in_dram_and_followed_when_it_jumps(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    task(agent, jobs[0], "lat:32M,cap", 160)
    user = User(cgroups, jobs[0], 150, 30, at=100, prefix=preferring(DRAM))
    until(lambda: user.share(100, 30, DRAM) > 0.95, f"the hot set: {events(agent, jobs[0])}", 120)
    assert user.share(0, 100, CXL) > 0.9
    user.use(20, 30)
    until(lambda: user.share(20, 30, DRAM) > 0.95, "the new hot set", 120)
    until(lambda: agent.job(jobs[0])["agrees"], "the plan", 60)
    assert user.share(60, 80, DRAM) < 0.05
    whys = {event["why"] for event in events(agent, jobs[0])}
    assert {"hot", "cold"} <= whys
    movement = agent.job(jobs[0])["movement"]
    assert movement["promoted"] > 0
    assert movement["demoted"] > 0


def test_without_a_plan_the_hot_set_comes_up_and_cold_memory_of_others_makes_room(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    """The agent has a fifth of a tier of 1 GiB: the first job fills it with memory that it does not use."""
    first = User(cgroups, jobs[0], 190, 20, prefix=preferring(DRAM))
    until(lambda: agent.job(jobs[0])["found"]["dram"] > 150 * MIB, "the first job")
    second = User(cgroups, jobs[1], 120, 40, at=60, prefix=preferring(CXL))
    until(lambda: second.share(60, 40, DRAM) > 0.95, f"its hot set: {events(agent, jobs[1])}", 120)
    assert first.share(0, 20, DRAM) > 0.95
    assert agent.job(jobs[0])["movement"]["demoted"] > 0
    assert second.share(0, 60, CXL) > 0.9


def test_a_lat_job_gets_room_from_a_bw_job_and_gives_it_back(
    agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]
) -> None:
    task(agent, jobs[0], "bw", 400)
    before = agent.job(jobs[0])["plan"]["parts"][0]["tiers"]
    answer = task(agent, jobs[1], "lat:100M", 100)
    assert answer["degraded"] == ""
    changed = agent.job(jobs[0])["plan"]
    assert changed["parts"][0]["tiers"]["dram"] < before["dram"]
    assert "gave way on dram" in changed["degraded"][-1]
    assert sum(changed["parts"][0]["tiers"].values()) == sum(before.values())
    cgroups.hold(jobs[0], 20)
    agent.ask(op="epilog", job_id=jobs[1], uid=NOBODY)
    until(lambda: agent.job(jobs[0])["plan"]["parts"][0]["tiers"]["dram"] == before["dram"], "it to be given back")


def test_a_job_that_grows_beyond_its_plan_gets_more(agent: AgentProcess, cgroups: JobCgroups, jobs: list[int]) -> None:
    agent.ask(op="prolog", job_id=jobs[0], uid=NOBODY, comment="", tier="cap:30M", restart=0)
    assert agent.job(jobs[0])["plan"]["parts"][0]["size"] == 30 * MIB
    cgroups.hold(jobs[0], 60, prefix=preferring(DRAM))
    until(lambda: agent.job(jobs[0])["found"].get("cxl", 0) > 58 * MIB, "the growth to be planned and moved", 60)
    assert agent.job(jobs[0])["plan"]["parts"][0]["size"] >= 60 * MIB

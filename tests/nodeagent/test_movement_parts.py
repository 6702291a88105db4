"""The mover's smaller parts: the log of events, what is counted of pins, memory.min, plans that change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.messages import PlanKey
from tierwise.plans import Part, Plan
from tierwise.tiers import Tier
from tierwise.units import GIB, MIB
from tierwise_node.cgroups import Usage
from tierwise_node.events import MOST_TOLD, Events
from tierwise_node.pins import HardPins, coverable
from tierwise_node.pressure import Pressure
from tierwise_node.record import SECOND, JobRecord
from tierwise_node.restraint import outline, worth_it
from tierwise_node.revisions import beyond_shares, given_up, grown, improved
from tierwise_policy.margin import MOST, margin
from tierwise_policy.movement import Move

TIERS = (
    Tier("dram", 0, (0,), GIB, GIB, 80, 200 * GIB),
    Tier("pmem", 1, (1,), GIB, GIB, 140, 100 * GIB),
    Tier("cxl", 2, (2,), GIB, GIB, 300, 30 * GIB),
)
PAGES = MIB // 4096


def record(job_id: int = 1, directive: str = "lat", plan: Plan | None = None, **found: int) -> JobRecord:
    made = JobRecord(PlanKey(job_id), 1000, started=job_id, directive=directive, plan=plan)
    made.found = found
    made.memory = plan.size if plan else 0
    return made


def lat(size: int, pinned: int = 0) -> Plan:
    return Plan((Part("LAT", size, {"dram": size}, pinned=pinned),))


def sampled(job: JobRecord, swapped: int = 0, **found: int) -> None:
    """One sample of the job, as the beat takes it."""
    before = sum(job.found.values())
    job.observe(job.seen + SECOND, found, Usage())
    job.watch_pin("dram", before, swapped)


# --- restraint ------------------------------------------------------------------------------------------------------


def move(job_id: int, size: int, up: bool, pid: int = 7) -> Move:
    return Move(job_id, pid, 0, size, 2 if up else 0, 0 if up else 2, size, "hot")


def test_trifles_are_not_promoted_and_wait_unless_something_else_moves() -> None:
    jobs = [record(1, dram=GIB), record(2, dram=GIB)]
    up, down, large = move(1, MIB, up=True), move(1, MIB, up=False), move(2, 64 * MIB, up=True)
    assert worth_it([up, down], jobs) == []
    assert worth_it([up, down, large], jobs) == [down, large]
    jobs[0].pin_missing = MIB
    assert worth_it([up], jobs) == [up]


def test_only_what_matters_calls_for_a_decision() -> None:
    margins = dict.fromkeys(("dram", "pmem", "cxl"), 0)
    job = record(plan=lat(GIB), dram=700 * MIB, cxl=300 * MIB)
    before = outline([job], TIERS, margins)
    job.found["dram"] += MIB
    assert outline([job], TIERS, margins) == before
    job.found["cxl"] += 100 * MIB
    assert outline([job], TIERS, margins) != before


# --- pins -----------------------------------------------------------------------------------------------------------


def test_what_the_kernel_takes_of_a_pin_is_counted_and_what_comes_back() -> None:
    job = record(plan=lat(100 * MIB, pinned=50 * MIB))
    sampled(job, dram=100 * MIB)
    sampled(job, dram=60 * MIB, cxl=40 * MIB)
    assert job.movement().broken_pins == 0
    sampled(job, dram=30 * MIB, cxl=70 * MIB)
    assert job.movement().broken_pins == 20 * PAGES
    sampled(job, dram=20 * MIB, cxl=70 * MIB, swapped=10 * MIB)
    assert (job.broken_pins, job.repaired_pins) == (30 * PAGES, 0)
    sampled(job, dram=70 * MIB, cxl=30 * MIB)
    assert (job.broken_pins, job.repaired_pins) == (30 * PAGES, 30 * PAGES)


def test_what_a_job_frees_or_never_had_is_no_broken_pin() -> None:
    job = record(plan=lat(100 * MIB, pinned=50 * MIB))
    sampled(job, cxl=100 * MIB)
    sampled(job, dram=60 * MIB, cxl=40 * MIB)
    sampled(job, dram=10 * MIB, cxl=40 * MIB)
    sampled(job, dram=10 * MIB, cxl=40 * MIB)
    assert job.movement().broken_pins == 0


def tree(top: Path) -> Path:
    """A job's cgroup below two others, with a step."""
    job = top / "system.slice/n_slurmstepd.scope/job_1"
    (job / "step_0").mkdir(parents=True)
    for folder in (top, *job.parents[:2], job, job / "step_0"):
        (folder / "memory.min").write_text("0\n")
    (top / "system.slice/memory.min").write_text(f"{MIB}\n")
    return job


USED = {1: Usage(nodes={0: 90 * MIB}, used=100 * MIB)}


def covered(job: Path) -> list[int]:
    places = (job.parents[1], job.parents[0], job, job / "step_0")
    return [int((place / "memory.min").read_text()) for place in places]


def test_a_hard_pin_covers_the_job_on_all_ancestors_and_gives_them_back(tmp_path: Path) -> None:
    job, state = tree(tmp_path / "cgroup"), tmp_path / "state"
    pinned = record(plan=lat(100 * MIB, pinned=50 * MIB))
    pins = HardPins(state, tmp_path / "cgroup")
    pins.keep({1: job}, [pinned], USED, GIB)
    assert covered(job) == [101 * MIB, 100 * MIB, 100 * MIB, 100 * MIB]
    assert (tmp_path / "cgroup/memory.min").read_text() == "0\n"
    assert pinned.movement().pin == "hard"
    pins = HardPins(state, tmp_path / "cgroup")  # the one before was killed
    pins.keep({1: job}, [pinned], USED, GIB)
    assert covered(job)[:2] == [101 * MIB, 100 * MIB]
    pins.keep({}, [], {}, GIB)
    assert covered(job)[:2] == [MIB, 0]


def test_a_cover_that_a_killed_agent_left_is_taken_off_a_job_whose_plan_has_changed(tmp_path: Path) -> None:
    job, state = tree(tmp_path / "cgroup"), tmp_path / "state"
    HardPins(state, tmp_path / "cgroup").keep({1: job}, [record(plan=lat(100 * MIB, pinned=50 * MIB))], USED, GIB)
    HardPins(state, tmp_path / "cgroup").keep({1: job}, [record(plan=lat(100 * MIB))], USED, GIB)
    assert covered(job) == [MIB, 0, 0, 0]


@pytest.mark.parametrize(
    "plan",
    [
        None,
        lat(100 * MIB),
        lat(600 * MIB, pinned=300 * MIB),
        Plan((*lat(50 * MIB, pinned=20 * MIB).parts, Part("CAP", MIB, {"cxl": MIB}))),
    ],
)
def test_other_pins_are_soft(tmp_path: Path, plan: Plan | None) -> None:
    """No pin, more than half of the tier, memory of another class."""
    job = tree(tmp_path)
    soft = record(plan=plan)
    HardPins(tmp_path / "state", tmp_path).keep({1: job}, [soft], USED, GIB)
    assert covered(job) == [MIB, 0, 0, 0]
    assert soft.movement().pin != "hard"


def test_a_pin_is_soft_where_it_would_protect_much_page_cache(tmp_path: Path) -> None:
    job = tree(tmp_path)
    pinned = record(plan=lat(100 * MIB, pinned=50 * MIB))
    pins = HardPins(tmp_path / "state", tmp_path)
    pins.keep({1: job}, [pinned], {1: Usage(nodes={0: 60 * MIB}, used=100 * MIB)}, GIB)
    assert covered(job) == [MIB, 0, 0, 0]
    pins.keep({1: job}, [pinned], {1: Usage(nodes={0: 90 * MIB}, used=100 * MIB)}, GIB)
    assert covered(job)[2:] == [100 * MIB, 100 * MIB]


def test_without_memory_min_pins_are_soft(tmp_path: Path) -> None:
    job = tree(tmp_path)
    (job.parent / "memory.min").unlink()
    pinned = record(plan=lat(100 * MIB, pinned=50 * MIB))
    assert coverable(pinned, USED[1])
    HardPins(tmp_path / "state", tmp_path).keep({1: job}, [pinned], USED, GIB)
    assert pinned.movement().pin == "soft"


# --- plans that change ----------------------------------------------------------------------------------------------


def test_a_job_that_grows_gets_more_of_the_same_within_its_limit() -> None:
    plan = Plan((Part("CAP", 100 * MIB, {"cxl": 100 * MIB}),))
    job = record(directive="cap", plan=plan, cxl=100 * MIB, dram=60 * MIB)
    room = {"dram": GIB, "pmem": GIB, "cxl": GIB}
    assert grown(job, None, TIERS, room, 0.5) == Plan(
        (Part("CAP", 200 * MIB, {"cxl": 200 * MIB}),), grown(job, None, TIERS, room, 0.5).policy
    )
    assert grown(job, 180 * MIB, TIERS, room, 0.5).size == 180 * MIB
    assert grown(job, 100 * MIB, TIERS, room, 0.5) is None
    job.found = {"cxl": 100 * MIB}
    assert grown(job, None, TIERS, room, 0.5) is None


def test_what_was_given_up_comes_back_when_there_is_room() -> None:
    plan = Plan((Part("LAT", 100 * MIB, {"dram": 20 * MIB, "cxl": 80 * MIB}),), degraded=("LAT: no room",))
    job = record(plan=plan, dram=20 * MIB, cxl=80 * MIB)
    assert improved(job, TIERS, {"dram": 0, "pmem": 0, "cxl": 0}, 0.5) is None
    better = improved(job, TIERS, {"dram": 50 * MIB, "pmem": 0, "cxl": 0}, 0.5)
    assert better.parts[0].tiers == {"dram": 70 * MIB, "cxl": 30 * MIB}
    whole = improved(job, TIERS, {"dram": GIB, "pmem": 0, "cxl": 0}, 0.5)
    assert whole.parts[0].tiers == {"dram": 100 * MIB}
    assert whole.degraded == ()


def test_others_give_up_what_is_cap_bw_or_without_a_plan_but_no_lat_and_nothing_switched_off() -> None:
    others = [
        record(1, "cap", Plan((Part("CAP", 10 * MIB, {"dram": 10 * MIB}),)), dram=MIB),
        record(2, "lat", lat(20 * MIB, pinned=10 * MIB), dram=20 * MIB),
        record(3, "", dram=30 * MIB),
        record(4, "off", dram=40 * MIB),
    ]
    assert given_up(others, "dram") == 40 * MIB


def test_a_new_lat_job_gets_its_part_of_what_a_running_one_was_promised() -> None:
    running = [record(1, "lat", lat(90 * MIB, pinned=30 * MIB), dram=10 * MIB)]
    assert beyond_shares(running, "dram", "lat:30M,cap", 200 * MIB, 6 * MIB) == {1: 18 * MIB}  # 96 MiB for 90 and 30
    assert beyond_shares(running, "dram", "cap", 200 * MIB, 6 * MIB) == {}
    assert beyond_shares(running, "dram", "lat", GIB, 0) == {1: 60 * MIB}  # all but the pin


# --- the log --------------------------------------------------------------------------------------------------------


def test_events_are_summed_up_and_shown_to_whom_they_concern() -> None:
    events = Events({1: 1000, 2: 2000}.__getitem__)
    events.moved("promoted", 1, "cxl", "dram", 10, "hot")
    events.moved("promoted", 1, "cxl", "dram", 5, "hot")
    events.moved("demoted", 2, "dram", "cxl", 3, "cold")
    events.end_beat()
    events.tell("pressure", why="tasks waited")
    assert [(event.number, event.job_id, event.pages) for event in events.since(0, 0)] == [
        (1, 1, 15),
        (2, 2, 3),
        (3, 0, 0),
    ]
    assert [event.job_id for event in events.since(0, 1000)] == [1]
    assert [event.job_id for event in events.since(1, 0, job_id=2)] == [2]
    for _ in range(2 * MOST_TOLD):
        events.tell("pressure")
    assert events.since(0, 0)[-1].number == 2 * MOST_TOLD + 3
    assert events.since(5, 0)[0].number == 6


def test_pressure_is_told_of_by_the_kernel_or_said_to_be_silent(tmp_path: Path) -> None:
    async def look() -> tuple[str, str]:
        real, none = Pressure(lambda: None), Pressure(lambda: None, tmp_path / "memory")
        problems = real.problem, none.problem
        real.stop()
        none.stop()
        return problems

    real, none = asyncio.run(look())
    assert real == ""
    assert "no PSI trigger" in none


@given(st.integers(0, 1 << 40), st.floats(0, 1), st.integers(0, 1 << 30), st.floats(0, 1e12), st.booleans())
def test_a_margin_follows_the_use_of_its_tier_within_bounds(
    capacity: int, share: float, watermarks: int, taken: float, pressed: bool
) -> None:
    kept = margin(capacity, share, watermarks, taken, pressed)
    assert 0 <= kept <= capacity
    assert kept >= min(int(capacity * share), capacity)
    assert kept >= margin(capacity, share, watermarks, taken / 2, pressed)
    assert kept >= margin(capacity, share, watermarks, taken, False)
    assert margin(capacity, 0.0, 0, taken, False) <= capacity * MOST

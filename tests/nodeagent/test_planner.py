"""Plans made on the node: what is evictable, what a step may ask, and what happens when the service is silent."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.errors import CredentialError, RefusedError, TierwiseError, UnavailableError
from tierwise.messages import PlanAnswer, PlanKey, PlanQuery
from tierwise.plans import MemoryPolicy, Part, Plan
from tierwise.tiers import Tier
from tierwise.units import GIB, MIB
from tierwise_node.cgroups import Usage
from tierwise_node.planner import Planner, evictable, step_policy
from tierwise_node.record import JobRecord

DRAM = Tier("dram", 0, (0,), 2 * GIB, 1 * GIB, 80, 200 * 10**9)
PMEM = Tier("pmem", 1, (1,), 1 * GIB, 1 * GIB, 140, 100 * 10**9)
CXL = Tier("cxl", 2, (2,), 2 * GIB, 2 * GIB, 300, 30 * 10**9)
TIERS = (DRAM, PMEM, CXL)
ROOM = {tier.name: tier.free for tier in TIERS}
KEY = PlanKey(7, "0123456789abcdef")


class Service:
    """The service's end of the line: fails in a given way, or answers; counts its questions."""

    def __init__(self, error: TierwiseError | None, plan: Plan | None = None, key: PlanKey | None = None) -> None:
        self.error, self.plan, self.key, self.asked = error, plan, key, 0

    async def __call__(self, query: PlanQuery) -> PlanAnswer:
        self.asked += 1
        if self.error:
            raise self.error
        return PlanAnswer(self.key or query.key, "cap", 5, self.plan, "as the service says")


def plan(service: Service, directive: str, memory: int, planner: Planner | None = None) -> PlanAnswer:
    planner = planner or Planner("n1", service, 0.5)
    return asyncio.run(planner.plan(KEY, 1000, directive, memory, TIERS, ROOM))


def test_the_service_decides() -> None:
    answer = plan(Service(None), "lat", GIB)
    assert answer.reason == "as the service says"


@pytest.mark.parametrize(
    "lie",
    [Service(None, Plan((Part("CAP", 5, {"tape": 5}),))), Service(None, key=PlanKey(8)), Service(None, key=PlanKey(7))],
)
def test_a_lying_service_is_not_believed(lie: Service) -> None:
    answer = plan(lie, "cap", GIB)
    assert answer.key == KEY
    assert answer.plan is not None
    assert answer.plan.tiers == {"cxl": GIB}


def test_a_refusal_is_said_in_the_reason() -> None:
    answer = plan(Service(RefusedError("the token is uid 5's")), "cap", GIB)
    assert answer.plan is not None
    assert answer.reason == "decision service refused: the token is uid 5's: planned on the node"


@pytest.mark.parametrize("error", [UnavailableError("late"), CredentialError("foreign")])
def test_without_it_the_node_plans_and_says_so(error: TierwiseError) -> None:
    answer = plan(Service(error), "lat:64M,cap", 300 * MIB)
    assert answer.plan is not None
    assert answer.plan.tiers == {"dram": 64 * MIB, "cxl": 236 * MIB}
    assert answer.reason == "no answer from the decision service: planned on the node"


def test_a_silent_service_is_not_asked_for_each_job() -> None:
    service = Service(UnavailableError("late"))
    answered = [0.0]
    planner = Planner("n1", service, 0.5, lambda: answered[-1])
    for _ in range(3):
        assert plan(service, "cap", GIB, planner).plan is not None
    assert service.asked == 1
    answered.append(time.monotonic())  # it takes a sample
    plan(service, "cap", GIB, planner)
    assert service.asked == 2


def test_a_size_that_is_not_known_yet_is_not_planned() -> None:
    service = Service(UnavailableError("late"))
    assert plan(service, "cap", 0).plan is None
    assert plan(service, "lat:50%", 0).plan is None
    answer = plan(service, "lat:64M,cap:1G", 0)
    assert answer.plan is not None
    assert answer.plan.size == 64 * MIB + GIB


def test_evictable_leaves_room_for_what_others_may_still_grow_into() -> None:
    planned = JobRecord(PlanKey(1), 1000, 0, plan=Plan((Part("LAT", 600 * MIB, {"dram": 600 * MIB}),)))
    planned.found = {"dram": 200 * MIB, "cxl": 5 * MIB}
    planless = JobRecord(PlanKey(2), 1000, 0)
    unlimited = JobRecord(PlanKey(3), 1000, 0)
    usages = {2: Usage(used=50 * MIB, limit=150 * MIB), 3: Usage(used=MIB)}
    room = evictable(TIERS, [planned, planless, unlimited], usages, but=9)
    assert room == {"dram": GIB - 400 * MIB - 100 * MIB, "pmem": GIB, "cxl": 2 * GIB}
    assert evictable(TIERS, [planned], {}, but=1) == ROOM


def test_evictable_is_never_negative() -> None:
    greedy = JobRecord(PlanKey(2), 1000, 0)
    assert evictable(TIERS, [greedy], {2: Usage(limit=1 << 50)}, but=9)["dram"] == 0


JOB = Plan(
    (Part("LAT", 64 * MIB, {"dram": 64 * MIB}), Part("CAP", 236 * MIB, {"cxl": 236 * MIB})),
    MemoryPolicy("preferred_many", ("dram",)),
)


@pytest.mark.parametrize(
    ("directive", "policy"),
    [
        ("", MemoryPolicy("preferred_many", ("dram",))),
        ("lat:64M,cap", MemoryPolicy("preferred_many", ("dram",))),
        ("auto", MemoryPolicy("preferred_many", ("dram",))),
        ("off", MemoryPolicy()),
        ("cap", MemoryPolicy("preferred_many", ("cxl",))),
        ("cap:100M", MemoryPolicy("preferred_many", ("cxl",))),
        ("lat", MemoryPolicy("preferred_many", ("dram",), numa_balancing=True)),
    ],
)
def test_a_steps_policy(directive: str, policy: MemoryPolicy) -> None:
    assert step_policy(directive, "lat:64M,cap", JOB, 300 * MIB, TIERS) == policy


@pytest.mark.parametrize("directive", ["bw", "lat:65M", "lat:50%", "cap:1G", "lat:1M,bw"])
def test_a_step_beyond_its_jobs_plan(directive: str) -> None:
    with pytest.raises(ValueError, match="the job's plan"):
        step_policy(directive, "lat:64M,cap", JOB, 300 * MIB, TIERS)


@given(st.sampled_from(["lat", "bw", "cap", "shl", "lat:64M,cap", "bw:50%,lat:10%", "lat:1T"]), st.integers(1, 1 << 44))
def test_a_plan_on_the_node_always_adds_up(directive: str, memory: int) -> None:
    answer = plan(Service(UnavailableError("late")), directive, memory)
    assert answer.plan is not None
    assert answer.plan.size == memory
    assert sum(answer.plan.tiers.values()) + answer.plan.unplaced == memory
    assert all(size <= ROOM[tier] for tier, size in answer.plan.tiers.items())

"""The final plans of jobs, as agents get them, from a real service."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from decision_service import ALICE, BOB, TIERS, Service, eventually, job_report, node_sample, plan_query

from tierwise.errors import RefusedError
from tierwise.messages import DryRunQuery, PlanKey
from tierwise.units import GIB, MIB
from tierwise_decision.database.batch import Batch
from tierwise_decision.database.engine import open_engine
from tierwise_decision.database.reads import request


def test_from_submission_to_plan(service: Service) -> None:
    token = service.submit("lat:64M,cap")["token"]
    answer = service.client().plan(plan_query(10, token))
    assert answer.plan
    assert answer.plan.tiers == {"dram": 64 * MIB, "cxl": 236 * MIB}
    assert (answer.memory, answer.directive) == (300 * MIB, "lat:67108864,cap")
    assert answer.plan.degraded == ()


def test_the_same_question_has_the_same_answer_after_kill_9(
    make_service: Callable[..., Service], database: str
) -> None:
    service = make_service(database=database).start()
    token = service.submit("cap")["token"]
    first = service.client().plan(plan_query(20, token))
    service.kill()
    service.start()
    less = {"dram": GIB, "pmem": 0, "cxl": 0}
    assert service.client().plan(plan_query(20, token, evictable=less)) == first
    assert service.client().plan(plan_query(21, token, evictable=less)) != first  # an array's next task
    assert service.client().plan(plan_query(20, token, evictable=less, key=PlanKey(7, token, 1))) != first  # requeued
    assert service.client().plan(plan_query(20, token, evictable=less, node="n2")) != first


def test_what_is_not_evictable_is_not_planned_with(service: Service) -> None:
    query = plan_query(
        7, directive="cap", memory=300 * MIB, evictable={"dram": GIB, "pmem": 100 * MIB, "cxl": 100 * MIB}
    )
    plan = service.client().plan(query).plan
    assert plan
    assert plan.tiers == {"cxl": 100 * MIB, "pmem": 100 * MIB, "dram": 100 * MIB}
    assert plan.degraded
    nothing = service.client().plan(plan_query(31, directive="cap", memory=300 * MIB, evictable={}))
    assert nothing.plan
    assert nothing.plan.unplaced == 300 * MIB


@pytest.mark.parametrize(
    ("job_id", "directive", "reason"),
    [
        (501, "", "no history yet"),
        (502, "auto", "no history yet"),
        (503, "off", "off"),
        (504, "nonsense", "unknown class"),
        (505, "cap", "not known"),
    ],
)
def test_left_to_the_kernel(service: Service, job_id: int, directive: str, reason: str) -> None:
    answer = service.client().plan(plan_query(job_id, directive=directive))
    assert answer.plan is None
    assert reason in answer.reason


def test_a_token_that_nobody_knows(service: Service) -> None:
    answer = service.client().plan(plan_query(50, "0123456789abcdef", directive="cap", memory=300 * MIB))
    assert answer.plan
    assert answer.directive == "cap"


def test_a_token_of_somebody_else(service: Service) -> None:
    token = service.submit("cap", uid=BOB)["token"]
    with pytest.raises(RefusedError, match=str(BOB)) as refused:
        service.client().plan(plan_query(60, token))
    assert refused.value.status == 403
    assert service.counted('tierwise_complaints_total{kind="uid"}') == 1


def test_memory_and_directive_that_are_known_later(service: Service) -> None:
    client = service.client()
    assert client.plan(plan_query(70)).plan is None
    assert client.plan(plan_query(70, directive="cap")).plan is None
    known = client.plan(plan_query(70, directive="cap", memory=300 * MIB))
    assert known.plan
    assert client.plan(plan_query(70)) == known


def test_sizes_beyond_the_memory_are_clipped_at_the_start(service: Service) -> None:
    answer = service.client().plan(plan_query(810, directive="lat:1G", memory=300 * MIB))
    assert answer.plan
    assert answer.plan.tiers == {"dram": 300 * MIB}


def test_a_whole_node(service: Service) -> None:
    token = service.submit("cap", mem=0, mem_from="unknown", whole_node=1)["token"]
    answer = service.client().plan(plan_query(90, token))
    assert answer.memory == sum(tier.capacity for tier in TIERS)


def test_only_agents_may_ask(service: Service) -> None:
    client = service.client(ALICE)
    for question in (
        lambda: client.plan(plan_query(100, directive="cap")),
        lambda: client.sample(node_sample()),
        lambda: client.report(job_report(7)),
    ):
        with pytest.raises(RefusedError, match="no agent") as refused:
            question()
        assert refused.value.status == 403


def test_dry_run(fresh_service: Service) -> None:
    service = fresh_service
    client = service.client(ALICE)
    with pytest.raises(RefusedError, match="no node"):
        client.dry_run(DryRunQuery("cap", GIB))
    agent = service.client()
    agent.sample(node_sample())
    agent.sample(node_sample("plain", tiers=TIERS[:1]))
    both = client.dry_run(DryRunQuery("cap", 300 * MIB))
    assert [plan.node for plan in both] == ["n1", "plain"]
    assert both[0].plan
    assert both[0].plan.tiers == {"cxl": 300 * MIB}
    assert any("slowest" in reason for reason in both[0].reasons)
    (one,) = client.dry_run(DryRunQuery("auto", 300 * MIB, "n1"))
    assert (one.plan, one.reasons) == (None, ("no history yet: the kernel places it",))
    with pytest.raises(RefusedError) as refused:
        client.dry_run(DryRunQuery("cap:-1", 300 * MIB))
    assert refused.value.status == 400


def test_a_token_that_nobody_claims_is_forgotten(make_service: Callable[..., Service], database: str) -> None:
    service = make_service(database=database).start()
    tokens = [service.submit("cap")["token"] for _ in range(2)]
    service.client().plan(plan_query(7, tokens[0]))
    assert service.stop() == 0
    engine = open_engine(database)
    batch = Batch()
    batch.forget_before = 1 << 62
    with engine.begin() as connection:
        assert request(connection, tokens[1])
        batch.write(connection, 0)
    with engine.connect() as connection:
        assert request(connection, tokens[0])
        assert request(connection, tokens[1]) is None
    engine.dispose()


def test_stop_writes_what_is_pending(make_service: Callable[..., Service], database: str) -> None:
    service = make_service(database=database).start()
    tokens = [service.submit("cap")["token"] for _ in range(100)]
    assert service.stop() == 0
    assert not service.hook.exists()
    assert not service.socket.exists()
    service.start()
    waiting = eventually(lambda: service.client().jobs("submitted", 1000))
    assert {job.token for job in waiting} == set(tokens)

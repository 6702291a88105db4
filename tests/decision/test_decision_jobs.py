"""Nodes and jobs as people see them, and reports, from a real service."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest
from decision_service import (
    ALICE,
    BOB,
    TIERS,
    Service,
    as_uid,
    eventually,
    job_report,
    job_sample,
    node_sample,
    plan_query,
)

from tierwise.errors import RefusedError
from tierwise.messages import NodeSample, PlanKey
from tierwise_decision.cluster import Cluster
from tierwise_decision.known import Known


def test_a_job_from_submission_to_report(service: Service) -> None:
    agent, alice = service.client(), service.client(ALICE)
    token = service.submit("cap", mem=6000 << 20)["token"]
    (waiting,) = [job for job in alice.jobs("submitted") if job.token == token]
    assert (waiting.uid, waiting.directive, waiting.state) == (ALICE, "cap", "submitted")
    answer = agent.plan(plan_query(100, token))
    assert [job for job in alice.jobs("submitted") if job.token == token] == []
    assert alice.job(100).state == "running"

    sample = job_sample(100, key=answer.key, plan=answer.plan, directive="cap")
    agent.sample(node_sample("a1", sample))
    agent.sample(node_sample("a2", sample))
    view = alice.job(100)
    assert (view.state, view.token, view.directive) == ("running", token, "cap")
    assert view.samples == {"a1": sample, "a2": sample}
    assert any("degraded" in notice for notice in view.notices)
    assert [job.job_id for job in alice.jobs("running")] == [100]

    for node in ("a1", "a2"):
        agent.report(job_report(100, answer, node=node))
    agent.report(job_report(100, answer, node="a2"))  # safe to send twice
    view = alice.job(100)
    assert (view.state, view.samples, len(view.reports)) == ("ended", {}, 2)
    assert view.reports[0].curve
    (listed,) = alice.jobs("ended", 1)
    assert (listed.job_id, len(listed.reports), listed.reports[0].curve) == (100, 2, ())
    assert 100 in [job.job_id for job in alice.jobs()]


def test_reports_survive_a_restart(make_service: Callable[..., Service], database: str) -> None:
    service = make_service(database=database).start()
    first = job_report(7)
    service.client().report(first)
    service.client().report(second := job_report(7, key=PlanKey(7, "", 1)))
    service.kill()
    service.start()
    assert service.client().job(7).reports == (second, first)
    assert [job.job_id for job in service.client().jobs("ended")] == [7]


def test_a_job_that_we_never_planned_for(service: Service) -> None:
    agent = service.client()
    agent.sample(node_sample("b1", job_sample(200, directive="lat")))
    assert service.client(ALICE).job(200).directive == "lat"
    agent.report(job_report(200, node="b1"))
    assert service.client(ALICE).job(200).state == "ended"


def test_others_are_not_seen(service: Service) -> None:
    agent, alice = service.client(), service.client(ALICE)
    agent.sample(node_sample("c1", job_sample(300), job_sample(301, BOB)))
    token = service.submit("cap", uid=BOB)["token"]
    (node,) = [view for view in alice.nodes() if view.sample.node == "c1"]
    assert [job.key.job_id for job in node.sample.jobs] == [300]
    (node,) = [view for view in agent.nodes() if view.sample.node == "c1"]
    assert len(node.sample.jobs) == 2
    assert {job.uid for job in alice.jobs(limit=1000)} == {ALICE}
    assert token in {job.token for job in agent.jobs(limit=1000)}
    with pytest.raises(RefusedError, match="not yours") as refused:
        alice.job(301)
    assert refused.value.status == 403
    with pytest.raises(RefusedError) as refused:
        alice.job(399)
    assert refused.value.status == 404
    agent.report(job_report(301, node="c1", uid=BOB))
    with pytest.raises(RefusedError):
        alice.job(301)
    assert 301 not in [job.job_id for job in alice.jobs("ended", 1000)]


def test_an_admin_sees_all(make_service: Callable[..., Service]) -> None:
    service = make_service(config=f"admin_uids = [{ALICE}]").start()
    service.client().sample(node_sample("n1", job_sample(1, BOB)))
    assert service.client(ALICE).job(1).uid == BOB


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "state=odd"])
def test_bad_questions(service: Service, query: str) -> None:
    with service.http() as http:
        answer = http.get(f"/v1/jobs?{query}")
        assert answer.status_code == 400
        assert answer.json()["status_code"] == 400
        assert http.get("/v1/jobs/-1").status_code == 400
        assert http.get("/v1/jobs/99999999999999999999").status_code == 400


def test_lists_are_limited(service: Service) -> None:
    for _ in range(5):
        service.submit("cap")
    assert len(service.client().jobs("submitted", 3)) == 3
    assert len(service.client().jobs(limit=2)) == 2


def test_nodes_outlive_the_service(make_service: Callable[..., Service], database: str) -> None:
    service = make_service(database=database).start()
    service.client().sample(node_sample("n2", tiers=TIERS[:2]))
    service.client().sample(node_sample("n1", job_sample(5)))
    service.client().sample(node_sample("n2"))
    assert service.stop() == 0
    service.start()
    views = eventually(lambda: service.client().nodes())
    assert [view.sample.node for view in views] == ["n1", "n2"]
    for view in views:
        assert [msgspec.structs.replace(tier, free=0) for tier in TIERS] == list(view.sample.tiers)
    assert service.submit("cap")["gres"] == "tier_cxl:300"


def test_figures_of_a_node_are_checked(service: Service) -> None:
    dram = TIERS[0]
    for tiers in (
        (msgspec.structs.replace(dram, name="Dram:1,gpu"),),
        (msgspec.structs.replace(dram, capacity=-1),),
        (msgspec.structs.replace(dram, bandwidth=1 << 63),),
        (dram, dram),
        (),
    ):
        with pytest.raises(RefusedError) as refused:
            service.client().sample(node_sample("odd", tiers=tiers))
        assert refused.value.status == 400
    assert "odd" not in [view.sample.node for view in service.client().nodes()]


def test_metrics_health_and_schema_are_for_anybody(service: Service) -> None:
    service.client().sample(node_sample())
    with as_uid(BOB), service.http() as http:
        assert 'tierwise_tier_capacity_bytes{tier="cxl"}' in http.get("/metrics").text
        health = http.get("/healthz").json()
        assert health["ok"] is True
        assert health["database"] == "sqlite"
        schema = http.get("/schema").json()
    assert set(schema["paths"]) >= {"/healthz", "/v1/plans", "/v1/samples", "/v1/reports", "/v1/jobs/{job_id}"}
    assert "PlanAnswer" in str(schema["components"]["schemas"].keys())


def test_silent_nodes() -> None:
    now = 1000.0
    cluster = Cluster(Known(), lambda: 10.0, lambda: now)
    cluster.update(NodeSample("n1", 0, "1", TIERS))
    cluster.restore(NodeSample("n2", 0, "1", TIERS), 500.0)
    assert [view.state for view in cluster.views()] == ["up", "silent"]
    now = 1031.0
    assert cluster.counts() == (0, 2)
    assert cluster.views()[0].age == 31.0


def test_the_newest_come_first(service: Service) -> None:
    agent = service.client()
    for number in range(50):
        agent.report(job_report(5000 + number, started=time.time_ns(), ended=time.time_ns() + number))
    assert [job.job_id for job in agent.jobs("ended", 50)] == [5049 - n for n in range(50)]

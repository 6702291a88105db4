"""What a submission is told and given by the history of its kind: a real service, with ended jobs in its database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from decision_service import ALICE, BOB, Service, eventually, node_sample, plan_query
from sqlalchemy import insert

from tierwise.messages import EstimateQuery
from tierwise.units import GIB, MIB
from tierwise_decision.database.engine import open_engine
from tierwise_decision.database.migrate import migrate
from tierwise_decision.database.models import EndedJob as EndedRow
from tierwise_decision.runs import EndedJob, to_row
from tierwise_policy.signature import Signature, signature

SECOND = 10**9
SCRIPT = "#!/bin/sh\nquant --in sample_1\n"
HOT = "#!/bin/sh\nserve --in sample_1\n"
BROKE = "#!/bin/sh\nassemble\n"


def kind(script: str, partition: str = "main", uid: int = ALICE) -> Signature:
    return signature(uid, script=script, job_name="j", partition=partition)


def ended(number: int, signature: Signature, **fields: object) -> EndedJob:
    started = time.time_ns() - (1000 - number) * SECOND
    values = {"state": "COMPLETED", "cause": "well", "failed": False, "peak": GIB, "seconds": 100.0, "restart": 0}
    times = {"job_id": number, "started": started, "ended": started + 100 * SECOND, "uid": ALICE}
    return EndedJob(signature=signature, **(values | times | fields))  # type: ignore[arg-type]


def remember(service: Service, *jobs: EndedJob) -> None:
    """Write into the service's database what its history would have written."""
    engine = open_engine(service.database)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(insert(EndedRow), [to_row(job) for job in jobs])
    engine.dispose()


@pytest.fixture(scope="module")
def learned() -> Iterator[Service]:
    """A service that knows a few kinds of jobs: `fill` is enforced halfway, `force` wholly, `main` not at all."""
    service = Service(config='sizing = { fill = "fill", force = "enforce" }').start()
    service.stop()
    partitions = ("main", "fill", "force")
    remember(
        service,
        *(ended(10 * i + n, kind(SCRIPT, part)) for i, part in enumerate(partitions) for n in range(5)),
        *(ended(100 + n, kind(HOT), hot=128 * MIB) for n in range(3)),
        ended(200, kind(BROKE, "force"), cause="memory", state="OUT_OF_MEMORY", failed=True, asked_memory=2 * GIB),
        ended(201, kind("cancelled", "force"), cause="cancelled", state="CANCELLED", failed=True),
    )
    service.start()
    service.client().sample(node_sample())
    eventually(lambda: "runs of" in service.submit("auto", script=SCRIPT)["notice"])
    eventually(lambda: "asks" not in service.submit("auto", script=BROKE, partition="force")["notice"])
    yield service
    service.remove()


def test_auto_is_told_what_history_says_and_on_what_that_rests(learned: Service) -> None:
    answer = learned.submit("auto", script=SCRIPT.replace("1", "2"))
    assert (answer["status"], "mem" in answer, "time" in answer) == ("none", False, False)
    assert "would need 1.1 GiB of memory on each node: 5 runs of this script, the largest, +" in answer["notice"]


def test_what_the_user_left_open_is_filled_in_where_the_admin_lets_it(learned: Service) -> None:
    given = learned.submit("auto", script=SCRIPT, partition="fill", time=600)
    assert "mem" not in given
    assert "time" not in given
    answer = learned.submit("auto", script=SCRIPT, partition="fill", mem_from="default")
    assert answer["status"] == "ok"
    assert GIB < int(answer["mem"]) < 1.3 * GIB
    assert int(answer["mem"]) % MIB == 0
    assert 100 <= int(answer["time"]) <= 240
    assert "it has 1." in answer["notice"]


def test_enforced_limits_replace_the_users(learned: Service) -> None:
    answer = learned.submit("auto", script=SCRIPT, partition="force", mem=64 * GIB, time=86400)
    assert int(answer["mem"]) < 1.3 * GIB
    assert int(answer["time"]) <= 240


@pytest.mark.parametrize("tier", ["", "lat", "off"])
def test_who_did_not_say_auto_keeps_their_limits(learned: Service, tier: str) -> None:
    answer = learned.submit(tier, script=SCRIPT, partition="force", mem_from="default")
    assert not {"mem", "time"} & set(answer)


def test_after_an_out_of_memory_twice_as_much_is_asked_for(learned: Service) -> None:
    answer = learned.submit("auto", script=BROKE, partition="force", mem=2 * GIB)
    assert int(answer["mem"]) >= 4 * GIB
    assert "out of memory" in answer["notice"]


def test_a_cancelled_job_teaches_nothing(learned: Service) -> None:
    assert "no history" in learned.submit("auto", script="cancelled", job_name="c", partition="force")["notice"]


def test_far_too_much_is_said_even_to_those_without_a_directive(learned: Service) -> None:
    answer = learned.submit("", script=SCRIPT, mem=64 * GIB)
    assert answer["status"] == "none"
    assert "asks for 64 GiB" in answer["advice"]
    assert "--mem=" in answer["advice"]
    assert "advice" not in learned.submit("", script=SCRIPT, mem=GIB)
    assert "asks for 64 GiB" in learned.submit("lat", script=SCRIPT, mem=64 * GIB)["notice"]


def test_a_job_is_placed_by_what_was_hot(learned: Service) -> None:
    answer = learned.submit("", script=HOT, mem=1200 * MIB)
    assert answer["status"] == "ok"
    counts = {name: int(count) for name, count in (item.split(":") for item in answer["gres"].split(","))}
    assert 128 <= counts["tier_dram"] < 200
    assert sum(counts.values()) == 1200
    assert "mem" not in answer
    plan = learned.client().plan(plan_query(901, answer["token"], memory=1200 * MIB))
    assert plan.plan
    assert [part.memory_class for part in plan.plan.parts] == ["LAT", "CAP"]
    assert plan.basis.startswith("placed by prediction: ")
    assert "3 runs of this script" in plan.basis


def test_tierctl_may_ask_beforehand(learned: Service) -> None:
    query = EstimateQuery(script=HOT, job_name="j", partition="main")
    answer = learned.client(ALICE).estimate(query)
    assert answer.runs == 3
    assert GIB < answer.peak < answer.memory < 1.3 * GIB
    assert answer.directive.startswith("lat:")
    assert "3 runs of this script" in answer.basis
    assert learned.client(BOB).estimate(query).runs == 0


def test_another_users_history_is_not_ours(learned: Service) -> None:
    assert "no history" in learned.submit("auto", script=SCRIPT, uid=BOB)["notice"]


def test_what_another_service_wrote_is_learned_after_a_restart(make_service: Callable[..., Service]) -> None:
    service = make_service().start()
    assert "no history" in service.submit("auto", script=SCRIPT)["notice"]
    service.kill()
    remember(service, ended(1, kind(SCRIPT)))
    service.start()
    eventually(lambda: "1 run of this script" in service.submit("auto", script=SCRIPT)["notice"])

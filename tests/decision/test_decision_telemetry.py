"""Telemetry: what is taken and what refused, on both databases; stragglers; what several services share; retention."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from decision_service import ALICE, Service, eventually, job_sample, node_sample
from sqlalchemy import create_engine, event, text

from tierwise.errors import RefusedError
from tierwise.messages import PlanKey
from tierwise.telemetry import (
    Hardware,
    LinkTraffic,
    Measurement,
    StragglerOrder,
    TelemetryBatch,
    Utilisation,
)
from tierwise.units import GIB
from tierwise_decision.database import reads, selection
from tierwise_decision.database import telemetry as tables
from tierwise_decision.database.engine import open_engine
from tierwise_decision.database.migrate import migrate
from tierwise_decision.database.retention import forget_jobs
from tierwise_decision.database.telemetry import HOUR_NS, TelemetryRows, roll_up

SECOND = 10**9
HARDWARE = Hardware(16, "model", 64 * GIB, {"eth0": 125_000_000})


def measured(ago: float = 0.0, cpu: float = 0.1, seconds: float = 10.0, **others: float) -> Measurement:
    use = Utilisation(cpu=cpu, **others)
    links, peers = {"eth0": LinkTraffic(1000, 2000)}, {"n9": 200_000}
    return Measurement(time.time_ns() - int(ago * SECOND), seconds, use, use, links, {"dram": 0.5}, peers)


def batch(node: str, *measurements: Measurement, hardware: Hardware = HARDWARE) -> TelemetryBatch:
    return TelemetryBatch(node, hardware, measurements or (measured(),))


def rows(database: str, query: str) -> list[tuple[object, ...]]:
    engine = open_engine(database)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def test_what_is_acknowledged_is_in_the_database(make_service: Callable[..., Service], database: str) -> None:
    service = make_service(database=database).start()
    client = service.client()
    sent = batch("n1", measured(20), measured(10), measured(0))
    assert client.telemetry(sent).taken == 3
    assert rows(database, "SELECT count(*) FROM measurements WHERE node = 'n1' AND span = 0") == [(3,)]
    assert client.telemetry(sent).taken == 3, "sent again: harmless"
    assert rows(database, "SELECT count(*) FROM measurements") == [(3,)]
    assert service.counted('tierwise_complaints_total{kind="telemetry_repeated"}') == 1


@pytest.mark.parametrize(
    "harm",
    [
        {"time": time.time_ns() + 3600 * SECOND},
        {"time": time.time_ns() - 30 * 24 * 3600 * SECOND},
    ],
)
def test_clocks_that_are_wrong_are_not_believed(fresh_service: Service, harm: dict[str, int]) -> None:
    client = fresh_service.client()
    wrong = msgspec.structs.replace(measured(), **harm)
    for _ in range(3):
        assert client.telemetry(batch("n1", measured(), wrong)).taken == 1, "the others are taken"
    assert fresh_service.counted('tierwise_complaints_total{kind="telemetry_clock"}') == 3
    assert fresh_service.log.count("telemetry_clock") == 1, "said once"


@pytest.mark.parametrize(
    "body",
    [
        b'{"node":"n1"}',
        msgspec.json.encode(batch("n1")).replace(b'"cpu":0.1', b'"cpu":-0.1'),
        msgspec.json.encode(batch("n1")).replace(b'"cpu":0.1', b'"cpu":1e300'),
        msgspec.json.encode(batch("n1")).replace(b'"received":1000', b'"received":-1'),
        msgspec.json.encode(batch("n1")).replace(b'"seconds":10.0', b'"seconds":0'),
        msgspec.json.encode(batch("n1")).replace(b'"n1"', b'"../../etc"'),
        zlib.compress(b" " * (9 << 20)),
        b"\x78\x01junk",
    ],
)
def test_absurd_batches_are_refused_and_counted(service: Service, body: bytes) -> None:
    before = service.counted('tierwise_complaints_total{kind="http_junk"}')
    headers = {"Content-Encoding": "deflate"} if body[:1] == b"\x78" else {}
    with service.http() as http:
        assert http.post("/v1/telemetry", content=body, headers=headers).status_code == 400
    assert service.counted('tierwise_complaints_total{kind="http_junk"}') == before + 1


def test_only_agents_may_speak_of_nodes_and_only_admins_pin(service: Service) -> None:
    user = service.client(ALICE)
    for forbidden in (
        lambda: user.telemetry(batch("n1")),
        lambda: user.order_straggler(StragglerOrder("n1", "pin")),
    ):
        with pytest.raises(RefusedError) as refused:
            forbidden()
        assert refused.value.status == 403
    assert user.stragglers() == []


def test_hardware_that_changed_is_an_event(fresh_service: Service) -> None:
    client = fresh_service.client()
    client.telemetry(batch("n1", measured(10)))
    more = msgspec.structs.replace(HARDWARE, memory=128 * GIB, links={"eth0": 1_250_000_000})
    client.telemetry(batch("n1", measured(), hardware=more))
    (event,) = client.node_events()
    assert (event.node, event.kind) == ("n1", "hardware")
    assert event.text == "memory: 64 GiB → 128 GiB; link eth0: 1 Gb/s → 10 Gb/s"


def test_a_straggler_is_named_and_freed_by_its_load(fresh_service: Service) -> None:
    client = fresh_service.client()
    client.telemetry(batch("n1", *(measured(ago, cpu=0.97) for ago in range(100, 0, -10))))
    client.telemetry(batch("n2", *(measured(ago, cpu=0.02) for ago in range(100, 0, -10))))
    (mark,) = client.stragglers()
    assert (mark.node, mark.state, mark.number) == ("n1", "named", 0.97)
    assert mark.evidence.startswith("cpu 97% busy with what is not Slurm's")
    client.telemetry(batch("n1", measured(cpu=0.01)))
    assert client.stragglers() == []
    told = ["no longer a straggler", "named"]
    eventually(lambda: [event.text.partition(":")[0] for event in client.node_events()] == told)


def test_an_admin_pins_and_pardons_and_other_services_know(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/shared.db"
    service = make_service(database=database).start()
    client = service.client()
    with pytest.raises(RefusedError, match="not known"):
        client.order_straggler(StragglerOrder("nowhere", "pin"))
    client.telemetry(batch("n1", *(measured(ago, cpu=0.97) for ago in range(100, 0, -10))))
    client.telemetry(batch("n2"))
    client.order_straggler(StragglerOrder("n1", "pardon", hours=1))
    client.order_straggler(StragglerOrder("n2", "pin", reason="a fan is broken"))
    client.telemetry(batch("n1", measured(cpu=0.97)))
    states = {mark.node: (mark.state, mark.by, mark.evidence) for mark in client.stragglers()}
    assert states == {
        "n1": ("pardoned", 0, "an admin's word"),
        "n2": ("pinned", 0, "an admin's word: a fan is broken"),
    }
    other = make_service(database=database).start()
    eventually(lambda: {mark.node for mark in other.client().stragglers()} == {"n1", "n2"})
    client.sample(node_sample("n3"))
    client.telemetry(batch("n3"))
    eventually(lambda: [view.sample.node for view in other.client().nodes() if view.state == "up"] == ["n3"])


def test_explain_says_of_each_node_why(fresh_service: Service) -> None:
    client = fresh_service.client()
    client.telemetry(batch("n1", *(measured(ago, cpu=0.97) for ago in range(100, 0, -10))))
    client.telemetry(batch("n2", measured(cpu=0.3)))
    client.telemetry(batch("n3", measured(cpu=0.1)))
    client.telemetry(batch("n4", measured(cpu=0.1, network=0.9)))
    client.sample(node_sample("n2", job_sample(71, started=time.time_ns())))
    with pytest.raises(RefusedError, match="not yours"):
        fresh_service.client(ALICE + 10).explain(71)
    found = fresh_service.client(ALICE).explain(71)
    assert (found.job_id, found.ran_on, found.asked) == (71, ("n2",), "1 node")
    by_node = {verdict.node: verdict for verdict in found.verdicts}
    assert [verdict.node for verdict in found.verdicts] == ["n3", "n2", "n1", "n4"]
    assert by_node["n3"].chosen
    assert by_node["n1"].sentence.startswith("it is a straggler: cpu 97% busy")
    assert by_node["n4"].sentence == "its network is 90% busy with what is not Slurm's, the threshold is 80%"
    assert by_node["n4"].number == pytest.approx(0.9)
    assert "Slurm placed it on n2" in found.notes[-1]


def test_old_measurements_are_rolled_up_by_the_hour(database: str) -> None:
    engine = open_engine(database)
    migrate(engine)
    start = time.time_ns() // HOUR_NS * HOUR_NS - 3 * HOUR_NS
    pending = TelemetryRows()
    for node in ("n1", "n2"):
        for minute in range(180):
            one = msgspec.structs.replace(measured(cpu=minute // 60 / 10), time=start + minute * 60 * SECOND)
            pending.take(batch(node, one), [one], start)
    with engine.begin() as connection:
        pending.write(connection)
    dropped = []
    while not dropped or dropped[-1]:
        with engine.begin() as connection:
            dropped.append(roll_up(connection, start + 2 * HOUR_NS))
    assert dropped == [120, 120, 0], "the last hour is not old yet"
    query = "SELECT node, time, cpu, others_cpu, seconds FROM measurements WHERE span = 3600 ORDER BY node, time"
    found = [
        (node, at, round(cpu, 6), round(others, 6), seconds) for node, at, cpu, others, seconds in rows(database, query)
    ]
    assert found == [
        (node, start + hour * HOUR_NS, hour / 10, hour / 10, 600.0) for node in ("n1", "n2") for hour in (0, 1)
    ]
    engine.dispose()


def test_every_query_goes_by_an_index(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/plans.db")
    migrate(engine)
    asked: list[tuple[str, object]] = []
    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        tables.loads(connection, 5, lambda node, time: True)
        tables.at(connection, 5, 3)
        tables.events(connection, 5)
        tables.exposures_of(connection, "x")
        tables.slowdowns(connection, 5)
        tables.roll_up(connection, 5)
        tables.forget(connection, 5)
        selection.exclusions(connection)
        selection.forget(connection, 5)
        forget_jobs(connection, 5)
        reads.request(connection, "x")
        reads.requests(connection, 1000, 5)
        reads.requests(connection, None, 5)
        reads.answer(connection, "n1", PlanKey(1))
        reads.ended_jobs(connection, 1000, 5)
        reads.ended_jobs(connection, None, 5)
        reads.runs(connection, 1)
        reads.reports(connection, [1, 2])
        reads.ended_runs(connection, 1)
        reads.ended_since(connection, 5, 5)
        reads.newest_end(connection)
        queries = list(asked)
        for query, values in queries:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)
            plan = [str(row[3]) for row in rows]
            scans = [step for step in plan if step.startswith("SCAN") and "INDEX" not in step]
            assert [step for step in scans if step.split()[1] not in ("last", "anon_1")] == [], (query, plan)
    assert len(queries) >= 25
    engine.dispose()

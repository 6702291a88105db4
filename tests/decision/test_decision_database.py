"""The database: migrations, and what happens while it is away. SQLite and a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from alembic import command
from conftest import PostgreSQL
from decision_service import ALICE, Service, eventually, job_report, job_sample, node_sample, plan_query
from sqlalchemy import inspect, text

from tierwise.errors import ConfigError, RefusedError
from tierwise.units import MIB
from tierwise_decision.database import migrate as migrations
from tierwise_decision.database.engine import open_engine
from tierwise_decision.database.migrate import SchemaError, drift, migrate
from tierwise_decision.database.models import Base
from tierwise_decision.spool import Spool, SpoolError

TABLES = set(Base.metadata.tables)


def test_migrations_make_what_the_models_say(database: str) -> None:
    engine = open_engine(database)
    migrate(engine)
    migrate(engine)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == TABLES | {"alembic_version"}
        assert drift(connection) == []
    engine.dispose()


def test_migrations_can_be_undone(database: str) -> None:
    engine = open_engine(database)
    migrate(engine)
    config = migrations.configuration()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
        command.upgrade(config, "head")
        assert drift(connection) == []
    engine.dispose()


def test_a_migration_that_is_killed_leaves_nothing(database: str) -> None:
    """What a kill -9 leaves is what a rollback leaves: all of a migration, or none of it."""
    engine = open_engine(database)
    config = migrations.configuration()
    with engine.connect() as connection, connection.begin() as transaction:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert set(inspect(connection).get_table_names()) >= TABLES
        transaction.rollback()
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    migrate(engine)
    engine.dispose()


def test_a_database_of_a_newer_version(make_service: Callable[..., Service], database: str) -> None:
    engine = open_engine(database)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))
    with pytest.raises(SchemaError, match="another version of tierwise"):
        migrate(engine)
    engine.dispose()
    service = make_service(database=database).start()
    assert "another version" in eventually(lambda: service.client().health().problems)[0]
    assert service.submit("cap")["status"] == "ok"


@pytest.mark.parametrize("url", ["", "mysql://x/y", "no url", "sqlite", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"service\.database"):
        open_engine(url)


def answers_from_memory(service: Service, job_id: int) -> None:
    """Everything works while the database takes nothing: submissions, plans, samples, reports (into the spool)."""
    client = service.client()
    spooled = client.health().spooled
    token = service.submit("cap")["token"]
    query = plan_query(job_id, token)
    answer = client.plan(query)
    assert answer.plan
    assert client.plan(msgspec.structs.replace(query, evictable={})) == answer
    client.sample(node_sample("n9", job_sample(job_id, key=query.key)))
    assert client.job(job_id).state == "running"
    for _ in range(2):
        client.report(job_report(job_id, answer, node="n9"))
    health = eventually(lambda: (health := client.health()).problems and health)
    assert (health.ok, health.spooled) == (False, spooled + 1)
    assert client.job(job_id).state == "ended"
    assert job_id in [job.job_id for job in client.jobs("ended")]


def test_a_read_only_database(make_service: Callable[..., Service]) -> None:
    """As it is for a service that owns its files no more; root has to give up being above modes for that."""
    service = make_service(wrapper=("setpriv", "--bounding-set", "-dac_override")).start()
    before = service.client().plan(plan_query(1, service.submit("cap")["token"]))
    assert service.stop() == 0
    state = service.directory / "state"
    (state / "tierwise.db").chmod(0o444)
    service.start()
    assert "readonly" in eventually(lambda: service.client().health().problems)[0]
    answers_from_memory(service, 2)
    assert service.client().plan(msgspec.structs.replace(plan_query(1, evictable={}), key=before.key)) == before
    state.chmod(0o555)
    service.kill()
    service.start()
    assert eventually(lambda: service.client().health().problems)
    answers_from_memory(service, 3)
    state.chmod(0o755)
    for file in state.iterdir():  # SQLite gives its -wal and -shm the mode of the database
        file.chmod(0o600)
    eventually(lambda: service.client().health().ok and not service.client().health().spooled, 90)
    service.kill()
    service.start()
    assert {job.job_id for job in service.client().jobs("ended")} == {2, 3}


def test_a_database_that_goes_and_comes_back(make_service: Callable[..., Service], postgresql: PostgreSQL) -> None:
    service = make_service(database=postgresql.url).start()
    service.client().sample(node_sample())
    postgresql.stop()
    try:
        answers_from_memory(service, 2)
    finally:
        postgresql.start()
    eventually(lambda: service.client().health().ok and not service.client().health().spooled, 90)
    assert postgresql.sql("SELECT job_id FROM reports") == "2"
    assert postgresql.sql("SELECT count(*) FROM requests WHERE claimed IS NOT NULL") == "1"
    assert postgresql.sql("SELECT count(*) FROM plans") == "1"
    assert postgresql.sql("SELECT count(*) FROM nodes") == "2"


def test_a_database_that_is_not_there_at_the_start(
    make_service: Callable[..., Service], postgresql: PostgreSQL
) -> None:
    postgresql.stop()
    try:
        service = make_service(database=postgresql.url).start()
        assert eventually(lambda: service.client().health().problems)
        answers_from_memory(service, 2)
        assert service.submit("lat")["status"] == "ok"
        with pytest.raises(RefusedError) as refused:
            service.client().job(77)
        assert refused.value.status == 503  # nobody can say now
    finally:
        postgresql.start()
    eventually(lambda: service.client().health().ok and not service.client().health().spooled, 90)
    assert postgresql.sql("SELECT job_id FROM reports") == "2"


def test_no_place_for_the_database(make_service: Callable[..., Service]) -> None:
    service = make_service(database="sqlite:////proc/nowhere/tierwise.db").start()
    assert eventually(lambda: service.client().health().problems)
    answers_from_memory(service, 2)


def test_a_report_that_nothing_can_keep_is_refused_so_that_the_agent_keeps_it(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(database="sqlite:////proc/nowhere/tierwise.db")
    service.spool.touch()  # a file where the directory should be
    service.start()
    with pytest.raises(RefusedError) as refused:
        service.client().report(job_report(1))
    assert refused.value.status == 503


def test_a_row_that_a_database_will_never_have(make_service: Callable[..., Service], postgresql: PostgreSQL) -> None:
    """PostgreSQL takes no NUL in a text. The row is dropped, its neighbours are not."""
    service = make_service(database=postgresql.url).start()
    client = service.client()
    client.report(job_report(1))
    client.report(job_report(2, directive="a\0b"))
    client.report(job_report(3))
    eventually(lambda: list(service.spool.glob("2.*.bad")), 40)
    assert client.health().spooled == 0
    assert client.health().ok
    assert postgresql.sql("SELECT job_id FROM reports ORDER BY 1") == "1\n3"


def test_the_spool_sets_aside_what_it_cannot_read(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"))
    spool.put(first := job_report(1))
    spool.put(job_report(1, peak=5))
    spool.put(job_report(2))
    assert len(spool) == 2
    (tmp_path / "spool" / "3.0.none.n1.json").write_text("{")
    spool = Spool(str(tmp_path / "spool"))
    assert len(spool) == 3
    found = spool.some(10)
    assert {report.key: report.peak for _, report in found} == {first.key: 5, job_report(2).key: first.peak}
    for path, _ in found:
        spool.remove(path)
    assert len(spool) == 0
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["3.0.none.n1.bad"]
    os.truncate(tmp_path / "spool" / "3.0.none.n1.bad", 0)
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="could not keep a report"):
        Spool(str(tmp_path / "file")).put(job_report(1))


def test_who_may_read_the_files(make_service: Callable[..., Service]) -> None:
    """History and reports are the service's alone; its sockets are for all."""
    service = make_service(database="").start()
    service.client().sample(node_sample())
    assert service.submit("cap", uid=ALICE, mem=MIB)["status"] == "ok"
    modes = {path: path.stat().st_mode & 0o777 for path in (service.directory / "state").iterdir()}
    assert modes
    assert set(modes.values()) == {0o600}
    assert service.hook.stat().st_mode & 0o777 == 0o666
    assert service.hook.parent.stat().st_mode & 0o777 == 0o755

"""Ended jobs are forgotten after their time, on both databases, and only then."""

from __future__ import annotations

import msgspec
from decision_service import ALICE, job_report
from sqlalchemy import text

from tierwise.messages import PlanAnswer, PlanKey
from tierwise_decision.database.batch import Batch
from tierwise_decision.database.engine import open_engine
from tierwise_decision.database.migrate import migrate
from tierwise_decision.database.retention import forget_jobs
from tierwise_decision.requested import Requested
from tierwise_decision.runs import EndedJob, to_row
from tierwise_policy.signature import Signature

DAY = 86400 * 10**9
NOW = 1000 * DAY
OLD = NOW - 400 * DAY


def lived(batch: Batch, job_id: int, started: int, ended: int) -> None:
    """All that a job leaves; `ended` 0: it still runs."""
    token = f"{job_id:016x}"
    request = Requested(
        token=token, time=started, uid=ALICE, directive="cap", memory=1, memory_from="user", whole_node=False,
        partition="main", nodes=1, launch="sbatch", job_name="j", account="", gres="", notice="",
    )  # fmt: skip
    batch.requests.append(msgspec.structs.asdict(request))
    batch.claim(token, started)
    batch.answer("n1", ALICE, started, PlanAnswer(PlanKey(job_id, token), "cap", 1, None, "no plan"))
    if ended:
        report = job_report(job_id, key=PlanKey(job_id, token), started=started, ended=ended)
        batch.reports.append(report)
        one = EndedJob(
            job_id=job_id, started=started, restart=0, uid=ALICE, signature=Signature("a", "b", "c"), state="COMPLETED",
            cause="well", failed=False, ended=ended,
        )  # fmt: skip
        batch.ended_jobs.append(to_row(one))


def test_old_jobs_are_forgotten_some_at_a_time(database: str) -> None:
    engine = open_engine(database)
    migrate(engine)
    batch = Batch()
    for job_id in (1, 2, 3):
        lived(batch, job_id, OLD, OLD + DAY)
    lived(batch, 4, OLD, NOW - DAY)  # ran for long
    lived(batch, 5, NOW - DAY, NOW)
    lived(batch, 6, NOW - DAY, 0)
    forgotten = []
    with engine.begin() as connection:
        batch.write(connection, NOW)
    while not forgotten or forgotten[-1]:
        with engine.begin() as connection:
            forgotten.append(forget_jobs(connection, NOW - 365 * DAY, most=2))
    assert len(forgotten) >= 3
    with engine.connect() as connection:

        def left(table: str) -> set[int]:
            return {row[0] for row in connection.execute(text(f"SELECT job_id FROM {table}"))}

        assert left("jobs") == left("reports") | {6} == left("ended_jobs") | {6} == {4, 5, 6}
        assert left("plans") == {4, 5, 6}
        tokens = {row[0] for row in connection.execute(text("SELECT token FROM requests"))}
        assert tokens == {f"{job_id:016x}" for job_id in (5, 6)}
    engine.dispose()

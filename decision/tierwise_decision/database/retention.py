"""Forgetting old jobs: their requests, plans, reports and ends, some rows at a time."""

from typing import Any

from sqlalchemy import Connection, Exists, Table, delete, exists, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from tierwise_decision.database.models import Base, EndedJob, Job, NodePlan, Report, Request

MOST = 5_000
"""Rows of a table in one transaction: whoever writes meanwhile waits for it."""


def forget_jobs(connection: Connection, before: int, most: int = MOST) -> int:
    """Drop what is left of jobs that ended before a time; how many rows that were, 0 when there is nothing more.

    A run goes by its end, its plans and reports with it; one whose end nobody knows goes by its start. Requests go by
    the time of their first plan, which holds what became of them.
    """
    last = func.coalesce(Job.ended, Job.started)
    return sum(
        (
            _forget(connection, Job.started, before, most, last < before),
            _forget(connection, Report.ended, before, most, ~_kept(Report)),
            _forget(connection, NodePlan.time, before, most, ~_kept(NodePlan)),
            _forget(connection, Request.claimed, before, most),
            _forget(connection, EndedJob.ended, before, most),
        )
    )


def _kept(model: type[Report | NodePlan]) -> Exists:
    """Whether the run of a row is still known."""
    same = (Job.job_id == model.job_id, Job.restart == model.restart, Job.token == model.token)
    return exists().where(*same)


def _forget(connection: Connection, when: InstrumentedAttribute[Any], before: int, most: int, *more: Any) -> int:
    table: Table = Base.metadata.tables[when.class_.__tablename__]
    key = tuple(table.primary_key.columns)
    oldest = select(*key).where(when < before, *more).order_by(when).limit(most)
    return int(connection.execute(delete(table).where(tuple_(*key).in_(oldest))).rowcount)

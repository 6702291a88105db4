"""What is to be written next: rows by table, together in one transaction. Every write can be repeated safely."""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy.sql import Executable

from tierwise.messages import JobReport, JobSample, NodeSample, PlanAnswer
from tierwise_decision.database.models import EndedJob, Job, Node, NodePlan, Report, Request
from tierwise_decision.database.selection import SelectionRows
from tierwise_decision.database.statements import CLAIM, FORGET, NO_TIERS, TIER, upsert
from tierwise_decision.database.telemetry import TelemetryRows

Row = dict[str, Any]
MAX_ROWS = 100_000
"""Per kind, while the database is away: what is older than that is dropped."""


class Batch:
    """Rows that wait. Kinds are written in the order of their declaration: a claim follows its request."""

    def __init__(self) -> None:
        self.requests: list[Row] = []
        self.claims: list[Row] = []
        self.jobs: list[Row] = []
        self.plans: list[Row] = []
        self.nodes: dict[str, NodeSample] = {}
        self.reports: list[JobReport] = []
        self.ended_jobs: list[Row] = []
        self.telemetry = TelemetryRows()
        self.selection = SelectionRows()
        self.forget_before = 0
        """Requests older than this time that nobody has claimed are deleted."""

    def __len__(self) -> int:
        return (
            sum(len(rows) for rows in self._lists())
            + len(self.nodes)
            + len(self.telemetry)
            + len(self.selection)
            + bool(self.forget_before)
        )

    def claim(self, token: str, time: int) -> None:
        """An agent has asked for a plan with this token."""
        self.claims.append({"of_token": token, "at": time})

    def answer(self, node: str, uid: int, time: int, answer: PlanAnswer) -> None:
        """A job has been answered about its plan on a node."""
        key = _key(answer)
        self.jobs.append(
            key | _job(uid, answer.directive, answer.memory, started=time, ended=None),
        )
        self.plans.append(
            key | {"node": node, "time": time, "uid": uid, "answer": msgspec.json.encode(answer).decode()}
        )

    def seen(self, sample: JobSample, time: int) -> None:
        """A job runs on a node: perhaps one that we never answered."""
        started = sample.started or time
        self.jobs.append(_key(sample) | _job(sample.uid, sample.directive, 0, started=started, ended=None))

    def before(self, newer: "Batch") -> "Batch":
        """This batch, which failed, followed by what has come since; the oldest rows beyond MAX_ROWS are dropped.

        Its reports are not kept: who handed them in waits, and puts them into the spool.
        """
        self.reports.clear()
        for ours, theirs in zip(self._lists(), newer._lists(), strict=True):
            ours.extend(theirs)
            del ours[:-MAX_ROWS]
        self.nodes |= newer.nodes
        self.telemetry = self.telemetry.before(newer.telemetry, MAX_ROWS)
        self.selection = self.selection.before(newer.selection)
        self.forget_before = max(self.forget_before, newer.forget_before)
        return self

    def singly(self) -> Iterator["Batch"]:
        """The same rows, each in a batch of its own: to find the one that the database will not have."""
        for index, rows in enumerate(self._lists()):
            for row in rows:
                single = Batch()
                single._lists()[index].append(row)
                yield single
        for name, sample in self.nodes.items():
            single = Batch()
            single.nodes[name] = sample
            yield single
        if self.selection:
            single = Batch()
            single.selection = self.selection
            yield single
        for measured in self.telemetry.singly():
            single = Batch()
            single.telemetry = measured
            yield single

    def write(self, connection: Connection, now: int) -> None:
        """Everything, in the caller's transaction. Raises what SQLAlchemy raises."""
        dialect = connection.dialect.name
        _many(connection, upsert(dialect, Request), self.requests)
        _many(connection, CLAIM, self.claims)
        ends = [_key(r) | _job(r.uid, r.directive, r.memory, started=r.started, ended=r.ended) for r in self.reports]
        _many(connection, upsert(dialect, Job), self.jobs + ends)
        _many(connection, upsert(dialect, NodePlan), self.plans)
        _many(connection, upsert(dialect, Report), [_report(report) for report in self.reports])
        _many(connection, upsert(dialect, EndedJob), self.ended_jobs)
        nodes = self.nodes.values()
        told = [{"name": node.node, "version": node.version, "changed": now} for node in nodes]
        _many(connection, upsert(dialect, Node), told)
        _many(connection, NO_TIERS, [{"of_node": node.node} for node in nodes])
        _many(connection, TIER, [tier for node in nodes for tier in _tiers(node)])
        self.telemetry.write(connection)
        self.selection.write(connection)
        if self.forget_before:
            connection.execute(FORGET, {"before": self.forget_before})

    def _lists(self) -> tuple[list[Any], ...]:
        return (self.requests, self.claims, self.jobs, self.plans, self.reports, self.ended_jobs)


def _many(connection: Connection, statement: Executable, rows: list[Row]) -> None:
    if rows:
        connection.execute(statement, rows)


def _key(source: PlanAnswer | JobSample | JobReport) -> Row:
    return {"job_id": source.key.job_id, "restart": source.key.restart, "token": source.key.token}


def _job(uid: int, directive: str, memory: int, *, started: int, ended: int | None) -> Row:
    return {"uid": uid, "directive": directive, "memory": memory, "started": started, "ended": ended}


def _report(report: JobReport) -> Row:
    text = msgspec.json.encode(report).decode()
    return _key(report) | {"node": report.node, "uid": report.uid, "ended": report.ended, "report": text}


def _tiers(sample: NodeSample) -> Iterator[Row]:
    for tier in sample.tiers:
        row = msgspec.structs.asdict(tier)
        del row["free"]
        yield row | {"node": sample.node, "numa_nodes": ",".join(map(str, tier.numa_nodes))}

"""What is read back. Every query goes by a primary key or an index: history may hold millions of jobs."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, func, select

from tierwise.messages import JobReport, NodeSample, PlanAnswer, PlanKey
from tierwise.tiers import Tier
from tierwise_decision.database.models import EndedJob, Job, Node, NodePlan, NodeTier, Report, Request

MAX_REPORTS = 4096


class KnownJob(msgspec.Struct, frozen=True):
    """One run of a job."""

    key: PlanKey
    uid: int
    directive: str
    started: int
    ended: int | None


def nodes(connection: Connection) -> Iterator[tuple[NodeSample, int]]:
    """Every node with its tiers (free: nothing), and when that last changed."""
    tiers: dict[str, list[Tier]] = {}
    for tier in connection.execute(select(NodeTier.__table__).order_by(NodeTier.node, NodeTier.rank)):
        numa_nodes = tuple(int(number) for number in tier.numa_nodes.split(",") if number)
        tiers.setdefault(tier.node, []).append(
            Tier(tier.name, tier.rank, numa_nodes, tier.capacity, 0, tier.latency_ns, tier.bandwidth, tier.source)
        )
    for node in connection.execute(select(Node.__table__)):
        if node.name in tiers:
            yield NodeSample(node.name, node.changed, node.version, tuple(tiers[node.name])), node.changed


def request(connection: Connection, token: str) -> Row[tuple[object, ...]] | None:
    """The request that a token stands for."""
    return connection.execute(select(Request.__table__).where(Request.token == token)).one_or_none()


def requests(connection: Connection, uid: int | None, limit: int) -> list[Row[tuple[object, ...]]]:
    """The newest requests that no agent has claimed; of one user, or of all."""
    query = select(Request.__table__).where(Request.claimed.is_(None)).order_by(Request.time.desc()).limit(limit)
    return list(connection.execute(query if uid is None else query.where(Request.uid == uid)))


def answer(connection: Connection, node: str, key: PlanKey) -> tuple[int, PlanAnswer] | None:
    """The owner and the plan that a run of a job already has on a node."""
    query = select(NodePlan.uid, NodePlan.answer).where(
        NodePlan.job_id == key.job_id,
        NodePlan.restart == key.restart,
        NodePlan.token == key.token,
        NodePlan.node == node,
    )
    row = connection.execute(query).one_or_none()
    return (row.uid, msgspec.json.decode(row.answer, type=PlanAnswer)) if row else None


def ended_jobs(connection: Connection, uid: int | None, limit: int) -> list[KnownJob]:
    """The newest runs that have been reported; of one user, or of all."""
    query = select(Job.__table__).where(Job.ended.is_not(None)).order_by(Job.started.desc()).limit(limit)
    return _known(connection, query if uid is None else query.where(Job.uid == uid))


def runs(connection: Connection, job_id: int) -> list[KnownJob]:
    """All runs of a job, the newest first."""
    return _known(connection, select(Job.__table__).where(Job.job_id == job_id).order_by(Job.started.desc()).limit(64))


def reports(connection: Connection, job_ids: Sequence[int]) -> list[JobReport]:
    """The reports of some jobs, of all runs and nodes, the newest first."""
    query = select(Report.report).where(Report.job_id.in_(job_ids)).order_by(Report.ended.desc())
    rows = connection.execute(query.limit(MAX_REPORTS))
    return [msgspec.json.decode(row.report, type=JobReport) for row in rows]


def ended_runs(connection: Connection, job_id: int) -> list[dict[str, Any]]:
    """The newest runs of a job that have ended, as rows."""
    query = select(EndedJob.__table__).where(EndedJob.job_id == job_id).order_by(EndedJob.started.desc()).limit(64)
    return [dict(row._mapping) for row in connection.execute(query)]


def ended_since(connection: Connection, since: int, limit: int) -> list[dict[str, Any]]:
    """The newest runs that have ended since then, oldest first, as rows."""
    query = select(EndedJob.__table__).where(EndedJob.ended >= since).order_by(EndedJob.ended.desc()).limit(limit)
    return [dict(row._mapping) for row in connection.execute(query)][::-1]


def newest_end(connection: Connection) -> int:
    """When the newest run ended that is known, 0 without any."""
    return connection.execute(select(func.max(EndedJob.ended))).scalar() or 0


def _known(connection: Connection, query: Select[tuple[object, ...]]) -> list[KnownJob]:
    return [
        KnownJob(PlanKey(row.job_id, row.token, row.restart), row.uid, row.directive, row.started, row.ended)
        for row in connection.execute(query)
    ]

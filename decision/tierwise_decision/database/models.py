"""The tables. Times are nanoseconds since the epoch, sizes bytes; plans and reports are kept as their JSON.

Ids come from Slurm and from our tokens, not from sequences, so that every write can be repeated safely.
"""

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {"pk": "pk_%(table_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s"}


class Base(DeclarativeBase):
    """Whole numbers are 64 bits wide everywhere."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {int: BigInteger, str: Text, bool: Boolean, float: Float}  # noqa: RUF012  SQLAlchemy reads it


class Node(Base):
    """A node that an agent has spoken for; `changed` is when its tiers or its agent's version last did."""

    __tablename__ = "nodes"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    version: Mapped[str]
    changed: Mapped[int]


class NodeTier(Base):
    """One tier of one node, without what changes from sample to sample."""

    __tablename__ = "tiers"
    node: Mapped[str] = mapped_column(ForeignKey("nodes.name", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    rank: Mapped[int]
    numa_nodes: Mapped[str]
    capacity: Mapped[int]
    latency_ns: Mapped[int]
    bandwidth: Mapped[int]
    source: Mapped[str] = mapped_column(String(16))


class Request(Base):
    """What a job asked for when it was submitted, and what the hook was answered.

    `claimed` is when an agent first asked for a plan with the token; unclaimed ones are forgotten after a while.
    """

    __tablename__ = "requests"
    __table_args__ = (
        Index("ix_requests_claimed_time", "claimed", "time"),
        Index("ix_requests_uid_time", "uid", "time"),
    )
    token: Mapped[str] = mapped_column(String(16), primary_key=True)
    time: Mapped[int]
    uid: Mapped[int]
    directive: Mapped[str]
    memory: Mapped[int]
    memory_from: Mapped[str] = mapped_column(String(8))
    whole_node: Mapped[bool]
    partition: Mapped[str]
    nodes: Mapped[int]
    launch: Mapped[str] = mapped_column(String(8))
    job_name: Mapped[str]
    account: Mapped[str]
    gres: Mapped[str]
    notice: Mapped[str]
    claimed: Mapped[int | None]
    cpus: Mapped[int]
    net: Mapped[int]
    latency_ns: Mapped[int]
    """Per node: CPUs, bytes per second, and the longest round trip; 0: nothing said."""
    retry: Mapped[int]
    """How often the job may be requeued with a larger request (--tier-retry)."""


class Job(Base):
    """One run of a job: a requeued job has another restart count. `ended` is the latest end of its nodes."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_uid_started", "uid", "started"), Index("ix_jobs_started", "started"))
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    restart: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    token: Mapped[str] = mapped_column(String(16), primary_key=True)
    uid: Mapped[int]
    directive: Mapped[str]
    memory: Mapped[int]
    started: Mapped[int]
    ended: Mapped[int | None]


class NodePlan(Base):
    """What one run of a job got on one node. `plan` is null where it was left to the kernel."""

    __tablename__ = "plans"
    __table_args__ = (Index("ix_plans_time", "time"),)
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    restart: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    token: Mapped[str] = mapped_column(String(16), primary_key=True)
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    time: Mapped[int]
    uid: Mapped[int]
    answer: Mapped[str]


class Report(Base):
    """What one run of a job did on one node."""

    __tablename__ = "reports"
    __table_args__ = (Index("ix_reports_ended", "ended"),)
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    restart: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    token: Mapped[str] = mapped_column(String(16), primary_key=True)
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    uid: Mapped[int]
    ended: Mapped[int]
    report: Mapped[str]


class EndedJob(Base):
    """One run of a job that has ended, as Slurm and the agents tell it: what is learned from (history.py).

    `key_…` are its signature's keys.
    """

    __tablename__ = "ended_jobs"
    __table_args__ = (
        Index("ix_ended_jobs_key_exact_ended", "key_exact", "ended"),
        Index("ix_ended_jobs_key_script_ended", "key_script", "ended"),
        Index("ix_ended_jobs_key_name_ended", "key_name", "ended"),
        Index("ix_ended_jobs_ended", "ended"),
    )
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    started: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    restart: Mapped[int]
    uid: Mapped[int]
    key_exact: Mapped[str] = mapped_column(String(16))
    key_script: Mapped[str] = mapped_column(String(16))
    key_name: Mapped[str] = mapped_column(String(16))
    token: Mapped[str] = mapped_column(String(16))
    array: Mapped[bool]
    state: Mapped[str] = mapped_column(String(32))
    cause: Mapped[str] = mapped_column(String(16))
    failed: Mapped[bool]
    exit_code: Mapped[int]
    exit_signal: Mapped[int]
    asked_memory: Mapped[int]
    peak: Mapped[int]
    hot: Mapped[int]
    seconds: Mapped[float]
    time_limit: Mapped[int]
    nodes: Mapped[int]
    cpus: Mapped[int]
    node_list: Mapped[str]
    partition: Mapped[str]
    job_name: Mapped[str]
    ended: Mapped[int]
    action: Mapped[str]
    next_memory: Mapped[int]
    next_seconds: Mapped[int]
    retried: Mapped[bool]

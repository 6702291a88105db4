"""The tables of what agents measure, of stragglers, and of what completed runs were exposed to; and how they are read.

Measurements are kept twice: as they came (`span` 0), and rolled up by the hour (`span` 3600) once they are old.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Float, Index, String, delete, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from tierwise.telemetry import (
    RESOURCES,
    Measurement,
    NodeEvent,
    NodeLoad,
    Straggler,
    TelemetryBatch,
    Utilisation,
)
from tierwise_decision.database.models import Base
from tierwise_decision.database.statements import upsert
from tierwise_policy.thresholds import Exposure

Row = dict[str, Any]
HOUR_NS = 3600 * 10**9
_load = msgspec.json.Decoder(NodeLoad)
_ROLL_UP_LOCK = 6831
"""Of several services on one PostgreSQL, one rolls up at a time."""


class Measured(Base):
    """One measurement of one node; shares as columns, so that the database can average them."""

    __tablename__ = "measurements"
    __table_args__ = (Index("ix_measurements_span_time", "span", "time"),)
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    span: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seconds: Mapped[float] = mapped_column(Float)
    cpu: Mapped[float] = mapped_column(Float)
    memory: Mapped[float] = mapped_column(Float)
    network: Mapped[float] = mapped_column(Float)
    gpu: Mapped[float] = mapped_column(Float)
    gpu_memory: Mapped[float] = mapped_column(Float)
    others_cpu: Mapped[float] = mapped_column(Float)
    others_memory: Mapped[float] = mapped_column(Float)
    others_network: Mapped[float] = mapped_column(Float)
    others_gpu: Mapped[float] = mapped_column(Float)
    others_gpu_memory: Mapped[float] = mapped_column(Float)
    latency_ns: Mapped[int]
    detail: Mapped[str]
    """Links, tiers and peers as JSON; empty once it is rolled up."""


class Load(Base):
    """The newest measurement of a node with its hardware: what another service on this database has not heard."""

    __tablename__ = "node_loads"
    __table_args__ = (Index("ix_node_loads_written", "written"),)
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    time: Mapped[int]
    written: Mapped[int]
    load: Mapped[str]


class Event(Base):
    """What happened to a node."""

    __tablename__ = "node_events"
    __table_args__ = (Index("ix_node_events_time", "time"),)
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    time: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    text: Mapped[str]


class Marked(Base):
    """A node that is a straggler, or pardoned. There are few: they are read whole."""

    __tablename__ = "stragglers"
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    since: Mapped[int]
    evidence: Mapped[str]
    number: Mapped[float] = mapped_column(Float)
    until: Mapped[int]
    by: Mapped[int | None]


class Exposed(Base):
    """What one completed run met on one node, for thresholds (by signature) and stragglers (by node)."""

    __tablename__ = "exposures"
    __table_args__ = (Index("ix_exposures_signature_ended", "signature", "ended"), Index("ix_exposures_ended", "ended"))
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    restart: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    signature: Mapped[str] = mapped_column(String(32))
    ended: Mapped[int]
    seconds: Mapped[float] = mapped_column(Float)
    slowdown: Mapped[float] = mapped_column(Float)
    others: Mapped[str]
    own: Mapped[str]


class TelemetryRows:
    """What is to be written of all this, in one transaction with the rest of a batch."""

    def __init__(self) -> None:
        self.measurements: list[Row] = []
        self.loads: dict[str, Row] = {}
        self.events: list[Row] = []
        self.marks: dict[str, Row | None] = {}
        """None: the node is not marked any more."""
        self.exposures: list[Row] = []

    def __len__(self) -> int:
        return (
            len(self.measurements) + len(self.loads) + len(self.events) + len(self.marks) + len(self.exposures)
        )  # fmt: skip

    def take(self, batch: TelemetryBatch, measurements: Iterable[Measurement], now: int) -> None:
        """Measurements of a node, the newest last."""
        kept = [_measured(batch.node, one) for one in measurements]
        self.measurements += kept
        if kept:
            newest = batch.measurements[-1]
            load = msgspec.json.encode(NodeLoad(batch.hardware, newest)).decode()
            self.loads[batch.node] = {"node": batch.node, "time": newest.time, "written": now, "load": load}

    def event(self, event: NodeEvent) -> None:
        """Something happened to a node."""
        self.events.append(msgspec.structs.asdict(event))

    def mark(self, node: str, straggler: Straggler | None) -> None:
        """A node's mark has changed."""
        self.marks[node] = msgspec.structs.asdict(straggler) if straggler else None

    def expose(
        self, job_id: int, restart: int, node: str, signature: str, ended: int, seconds: float, met: Exposure
    ) -> None:
        """A run has completed."""
        self.exposures.append(
            {
                "job_id": job_id, "restart": restart, "node": node, "signature": signature, "ended": ended,
                "seconds": seconds, "slowdown": met.slowdown, "others": msgspec.json.encode(met.others).decode(),
                "own": msgspec.json.encode(met.own).decode(),
            }
        )  # fmt: skip

    def before(self, newer: "TelemetryRows", most: int) -> "TelemetryRows":
        """These rows, which failed, then newer ones. Measurements are not kept: agents send them again."""
        self.measurements = newer.measurements
        self.loads |= newer.loads
        self.events = (self.events + newer.events)[-most:]
        self.marks |= newer.marks
        self.exposures = (self.exposures + newer.exposures)[-most:]
        return self

    def singly(self) -> Iterator["TelemetryRows"]:
        """Each row by itself."""
        for name in ("measurements", "events", "exposures"):
            for row in getattr(self, name):
                single = TelemetryRows()
                getattr(single, name).append(row)
                yield single
        for name in ("loads", "marks"):
            for node, row in getattr(self, name).items():
                single = TelemetryRows()
                getattr(single, name)[node] = row
                yield single

    def write(self, connection: Connection) -> None:
        """Everything. Repeated measurements and exposures are the same ones: the first stays."""
        dialect = connection.dialect.name
        _many(connection, _new(dialect, Measured), self.measurements)
        _many(connection, upsert(dialect, Load), sorted(self.loads.values(), key=lambda row: str(row["node"])))
        _many(connection, upsert(dialect, Event), self.events)
        _many(connection, _new(dialect, Exposed), self.exposures)
        _many(connection, upsert(dialect, Marked), [row for row in self.marks.values() if row])
        for node, row in self.marks.items():
            if row is None:
                connection.execute(delete(Marked).where(Marked.node == node))


def loads(
    connection: Connection, written_after: int, is_news: Callable[[str, int], bool]
) -> tuple[dict[str, NodeLoad], int]:
    """The loads written since that are news of their node at their time, and when the last of all was written."""
    query = select(Load.node, Load.time, Load.written, Load.load).where(Load.written > written_after)
    rows = connection.execute(query).all()
    found = {row.node: _load.decode(row.load) for row in rows if is_news(row.node, row.time)}
    return found, max((row.written for row in rows), default=written_after)


def marks(connection: Connection) -> dict[str, Straggler]:
    """All marked nodes."""
    return {row.node: Straggler(**row._mapping) for row in connection.execute(select(Marked.__table__))}


def at(connection: Connection, time: int, within: int) -> dict[str, Measurement]:
    """Each node's last measurement before `time`, not older than `within` ns."""
    recent = (Measured.span == 0) & Measured.time.between(time - within, time)
    last = select(Measured.node, func.max(Measured.time).label("time")).where(recent).group_by(Measured.node).subquery()
    same = (Measured.node == last.c.node) & (Measured.time == last.c.time) & (Measured.span == 0)
    query = select(Measured.__table__).join(last, same)
    return {row.node: _measurement(row) for row in connection.execute(query)}


def events(connection: Connection, since: int, limit: int = 1000) -> list[NodeEvent]:
    """The newest events of all nodes, newest first."""
    query = select(Event.__table__).where(Event.time >= since).order_by(Event.time.desc()).limit(limit)
    return [NodeEvent(**row._mapping) for row in connection.execute(query)]


def exposures_of(connection: Connection, signature: str, limit: int = 200) -> list[Exposure]:
    """The newest completed runs of a signature."""
    query = select(Exposed.__table__).where(Exposed.signature == signature).order_by(Exposed.ended.desc()).limit(limit)
    return [_exposure(row) for row in connection.execute(query)]


def slowdowns(connection: Connection, since: int, limit: int = 100_000) -> list[tuple[str, int, str, float, float]]:
    """Node, end, signature, seconds and slowdown of the runs that ended since, oldest first."""
    columns = (Exposed.node, Exposed.ended, Exposed.signature, Exposed.seconds, Exposed.slowdown)
    query = select(*columns).where(Exposed.ended >= since).order_by(Exposed.ended.desc()).limit(limit)
    return [(row[0], row[1], row[2], row[3], row[4]) for row in reversed(connection.execute(query).all())]


def roll_up(connection: Connection, before: int) -> int:
    """Average the oldest hour of raw measurements, if it lies wholly before `before`, and drop what it was made of.

    Returns how many rows were dropped: 0 when there is nothing more to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ROLL_UP_LOCK})
    oldest = connection.execute(select(func.min(Measured.time)).where(Measured.span == 0)).scalar()
    if oldest is None or (oldest // HOUR_NS + 1) * HOUR_NS > before:
        return 0
    hour = oldest // HOUR_NS * HOUR_NS
    table = Base.metadata.tables[Measured.__tablename__]
    raw = (table.c.span == 0) & table.c.time.between(hour, hour + HOUR_NS - 1)
    seconds = func.sum(table.c.seconds)
    shares = [*RESOURCES, *(f"others_{name}" for name in RESOURCES)]
    means: list[Any] = [(func.sum(table.c[name] * table.c.seconds) / seconds).label(name) for name in shares]
    keys: list[Any] = [table.c.node, text("3600 AS span"), text(f"{hour} AS time"), seconds.label("seconds")]
    ends: list[Any] = [func.max(table.c.latency_ns).label("latency_ns"), text("'' AS detail")]
    query = select(*keys, *means, *ends).where(raw).group_by(table.c.node)
    columns = ["node", "span", "time", "seconds", *shares, "latency_ns", "detail"]
    connection.execute(insert(table).from_select(columns, query))
    return int(connection.execute(delete(table).where(raw)).rowcount)


def forget(connection: Connection, before: int) -> None:
    """Drop what is rolled up, events and exposures from before a time."""
    connection.execute(delete(Measured).where(Measured.span == 3600, Measured.time < before))
    connection.execute(delete(Event).where(Event.time < before))
    connection.execute(delete(Exposed).where(Exposed.ended < before))


def _new(dialect: str, model: type[Base]) -> Any:
    """INSERT; what is there already stays as it is."""
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(
        Base.metadata.tables[model.__tablename__]
    )
    return statement.on_conflict_do_nothing()


def _many(connection: Connection, statement: Any, rows: list[Row]) -> None:
    if rows:
        connection.execute(statement, rows)


def _measured(node: str, one: Measurement) -> Row:
    detail = {"links": one.links, "tiers": one.tiers, "peers": one.peers}
    return {
        "node": node, "span": 0, "time": one.time, "seconds": one.seconds,
        **{name: one.total.share(name) for name in RESOURCES},
        **{f"others_{name}": one.others.share(name) for name in RESOURCES},
        "latency_ns": one.latency_ns, "detail": msgspec.json.encode(detail).decode(),
    }  # fmt: skip


def _measurement(row: Any) -> Measurement:
    detail = msgspec.json.decode(row.detail) if row.detail else {}
    return msgspec.convert(
        {
            "time": row.time, "seconds": min(row.seconds, 86400.0), **detail,
            "total": {name: getattr(row, name) for name in RESOURCES},
            "others": {name: getattr(row, f"others_{name}") for name in RESOURCES},
        },
        Measurement,
    )  # fmt: skip


def _exposure(row: Any) -> Exposure:
    own, others = (msgspec.json.decode(text, type=Utilisation) for text in (row.own, row.others))
    return Exposure(others, own, row.slowdown)

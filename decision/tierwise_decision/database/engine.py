"""Opening the database that a URL names."""

import contextlib
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, Pool

from tierwise.errors import ConfigError

_WAIT_SECONDS = 5
"""No statement and no connection may hang for longer: an agent is waiting for an answer."""


def open_engine(address: str) -> Engine:
    """An engine for `service.database`; connects only when it is used. Raises ConfigError."""
    try:
        url = make_url(address)
    except ArgumentError:
        raise ConfigError("service.database is no database URL: use sqlite:////PATH or postgresql://…") from None
    backend = url.get_backend_name()
    try:
        if backend == "sqlite":
            return _sqlite(url)
        if backend == "postgresql":
            return _postgresql(url)
    except ModuleNotFoundError as error:
        raise ConfigError(f"service.database needs {error.name}: pip install tierwise[postgresql]") from None
    raise ConfigError(f"service.database speaks of {backend}: sqlite and postgresql are supported")


def for_reading(engine: Engine) -> Engine:
    """The engine to read with beside a writer.

    SQLite's connections of one process share what the first of them found: one that could only read, and lingers in a
    pool, keeps the writer from writing for good. So readers have none that outlive their question.
    """
    return engine if engine.dialect.name == "postgresql" else _sqlite(engine.url, NullPool)


def _sqlite(url: URL, pool: type[Pool] | None = None) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError("service.database must name a file: sqlite:////var/lib/tierwise/tierwise.db")
    with contextlib.suppress(OSError):  # then opening it fails too, and says why
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _WAIT_SECONDS}, poolclass=pool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # WAL: readers never wait for the writer. NORMAL: a power cut may lose the last commits, a crash none.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        connection.isolation_level = None  # sqlite3 would commit before each DDL: a migration must be whole or not be

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    milliseconds = _WAIT_SECONDS * 1000
    return create_engine(
        url,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _WAIT_SECONDS,
            "tcp_user_timeout": milliseconds,
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
        },
    )

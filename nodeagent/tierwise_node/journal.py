"""The agent's small database on the node: records of running jobs, their curves, and reports not yet delivered.

SQLite in WAL mode: a commit survives `kill -9`. A journal that can't be used (damaged, disk full, of another version)
never stops the agent: the damaged file is set aside, and without a disk the journal lives in memory.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tierwise.messages import JobReport, UsePoint
from tierwise_node.aside import SCHEMA as ASIDE
from tierwise_node.aside import UNREADABLE, set_aside
from tierwise_node.record import JobRecord

log = logging.getLogger(__name__)
T = TypeVar("T")
VERSION = 1
MOST_REPORTS = 10_000
"""Reports kept while the service is away; beyond it the oldest are dropped, and that is logged."""
_SCHEMA = """
CREATE TABLE jobs (job_id INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE points (job_id INTEGER NOT NULL, number INTEGER NOT NULL, point BLOB NOT NULL,
                     PRIMARY KEY (job_id, number)) WITHOUT ROWID;
CREATE TABLE reports (number INTEGER PRIMARY KEY AUTOINCREMENT, report BLOB NOT NULL);
"""


class Journal:
    """One open journal. `problem` says why it does not outlive this process; empty: it does."""

    def __init__(self, folder: Path) -> None:
        self.problem = ""
        self._damages = 0
        self._path = path = folder / "journal.db"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            self._database = self._start_anew(path, error)
        except OSError as error:
            self._database = self._in_memory(f"could not make {folder}: {error.strerror}")

    def close(self) -> None:
        """Close it; what was committed is on disk."""
        self._database.close()

    def records(self) -> list[JobRecord]:
        """The jobs that were running when the last agent stopped."""
        return self._decoded("SELECT record FROM jobs", lambda row: msgspec.msgpack.decode(row[0], type=JobRecord))

    def save(self, *records: JobRecord, points: tuple[tuple[JobRecord, UsePoint], ...] = ()) -> None:
        """Keep these records, and add points to their curves, at once."""
        with self._writing() as database:
            database.executemany(
                "INSERT OR REPLACE INTO jobs VALUES (?, ?)",
                [(record.key.job_id, msgspec.msgpack.encode(record)) for record in records],
            )
            database.executemany(
                "INSERT INTO points SELECT ?, COALESCE(MAX(number), 0) + 1, ? FROM points WHERE job_id = ?",
                [(rec.key.job_id, msgspec.msgpack.encode(point), rec.key.job_id) for rec, point in points],
            )

    def thin_out(self, record: JobRecord) -> None:
        """Drop every other point of a curve that is full."""
        with self._writing() as database:
            database.execute("DELETE FROM points WHERE job_id = ? AND number % 2 = 0", (record.key.job_id,))
            database.execute("UPDATE points SET number = -(number + 1) / 2 WHERE job_id = ?", (record.key.job_id,))
            database.execute("UPDATE points SET number = -number WHERE job_id = ?", (record.key.job_id,))

    def curve(self, record: JobRecord) -> tuple[UsePoint, ...]:
        """The points of a job's curve, in the order of time."""
        query = "SELECT point FROM points WHERE job_id = ? ORDER BY number"
        return tuple(self._decoded(query, lambda row: msgspec.msgpack.decode(row[0], type=UsePoint), record.key.job_id))

    def end(self, record: JobRecord, report: JobReport) -> None:
        """Forget a job and queue its report, in one step: neither is lost nor doubled by a crash."""
        with self._writing() as database:
            database.execute("DELETE FROM jobs WHERE job_id = ?", (record.key.job_id,))
            database.execute("DELETE FROM points WHERE job_id = ?", (record.key.job_id,))
            database.execute("INSERT INTO reports (report) VALUES (?)", (msgspec.json.encode(report),))
            dropped = database.execute(
                "DELETE FROM reports WHERE number <= (SELECT MAX(number) FROM reports) - ?", (MOST_REPORTS,)
            ).rowcount
        if dropped:
            log.error("%d old reports were dropped: the decision service took none for too long", dropped)

    def queued(self, most: int = 100, after: int = 0) -> list[tuple[int, JobReport]]:
        """The oldest reports behind number `after` that were not delivered, with their numbers. What can't be read is
        set aside: it would stand before the others for good."""
        query = "SELECT number, CAST(report AS BLOB) FROM reports WHERE number > ? ORDER BY number LIMIT ?"
        found = self._decoded(query, lambda row: (row[0], row[1], _report(row[1])), after, most)
        if bad := [(number, text) for number, text, report in found if report is None]:
            with self._writing() as database:
                set_aside(database, "reports", (text for _, text in bad))
                database.executemany("DELETE FROM reports WHERE number = ?", [row[:1] for row in bad])
        return [(number, report) for number, _, report in found if report is not None]

    def delivered(self, number: int) -> None:
        """The service has taken this report."""
        with self._writing() as database:
            database.execute("DELETE FROM reports WHERE number = ?", (number,))

    def _decoded(self, query: str, decode: Callable[[Any], T], *values: int) -> list[T]:
        """What the rows hold, but for those that can't be read: one must not keep the others from us."""
        found = []
        try:
            for row in self._database.execute(query, values):
                try:
                    found.append(decode(row))
                except UNREADABLE as error:
                    log.error("an entry of the journal can't be read: %s", error)
        except sqlite3.OperationalError as error:
            self.problem = f"the journal can't be read: {error}"
            log.error("%s", self.problem)
        except sqlite3.DatabaseError as error:
            self._damaged(error)
        return found

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction. A full disk, or a damaged one, loses what it would have kept, not the agent."""
        try:
            with self._database:
                yield self._database
        except sqlite3.OperationalError as error:
            self.problem = f"the journal can't be written: {error}"
            log.error("%s", self.problem)
        except sqlite3.DatabaseError as error:
            self._damaged(error)

    def _damaged(self, error: sqlite3.DatabaseError) -> None:
        """A page of it can't be read: begin anew, the second time in memory. Re-raises what is no such damage."""
        if type(error) is not sqlite3.DatabaseError:  # its heirs say what we did wrong
            raise error
        self._database.close()
        self._damages += 1
        if self._damages == 1:
            self._database = self._start_anew(self._path, error)
        else:
            self._database = self._in_memory(f"journal {self._path}: {error}")

    def _start_anew(self, path: Path, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        aside = path.with_name(f"journal-{int(time.time())}.damaged")
        log.error("journal %s: %s: set aside as %s; jobs that run now are taken up anew", path, error, aside.name)
        try:
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            return _open(path)
        except (OSError, sqlite3.DatabaseError) as again:
            return self._in_memory(f"journal {path}: {again}")

    def _in_memory(self, problem: str) -> sqlite3.Connection:
        self.problem = f"{problem}: plans and reports won't outlive this agent"
        log.error("%s", self.problem)
        database = sqlite3.connect(":memory:")
        database.executescript(_SCHEMA + ASIDE)
        return database


def _report(text: bytes) -> JobReport | None:
    """None for one that another version wrote, or a faulty disk."""
    try:
        return msgspec.json.decode(text, type=JobReport)
    except UNREADABLE:
        return None


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=2.0)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"its version is {version}, this agent's is {VERSION}")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        database.execute(ASIDE)
    except BaseException:
        database.close()
        raise
    return database

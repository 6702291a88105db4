"""Measurements that the decision service has not acknowledged: on disk, bounded, oldest first.

Without a disk they wait in memory. Beyond MOST of them the oldest are dropped: an outage of a day at the usual rate
loses nothing.
"""

import logging
import sqlite3
from pathlib import Path

import msgspec

from tierwise.telemetry import Measurement
from tierwise_node.aside import SCHEMA as ASIDE
from tierwise_node.aside import UNREADABLE, set_aside

log = logging.getLogger(__name__)
MOST = 20_000
_SCHEMA = "CREATE TABLE IF NOT EXISTS measurements (number INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL)"


class Spool:
    """One open spool."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = _open(str(folder / "telemetry.db"))
        except (sqlite3.Error, OSError) as error:
            log.error("measurements won't outlive this agent: %s/telemetry.db: %s", folder, error)
            self._database = _open(":memory:")

    def put(self, measurement: Measurement) -> None:
        """Keep one."""
        try:
            with self._database:
                number = self._database.execute(
                    "INSERT INTO measurements (content) VALUES (?)", (msgspec.msgpack.encode(measurement),)
                ).lastrowid
                self._database.execute("DELETE FROM measurements WHERE number <= ?", ((number or 0) - MOST,))
        except sqlite3.Error as error:  # a full disk
            log.error("a measurement was not kept: %s", error)

    def oldest(self, most: int) -> tuple[int, tuple[Measurement, ...]]:
        """The oldest measurements, and the number to acknowledge them by. What can't be read is set aside."""
        query = "SELECT number, CAST(content AS BLOB) FROM measurements ORDER BY number LIMIT ?"
        try:
            rows = self._database.execute(query, (most,)).fetchall()
            read = [(number, content, _decode(content)) for number, content in rows]
            if bad := [(number, content) for number, content, measurement in read if measurement is None]:
                with self._database:
                    set_aside(self._database, "measurements", (content for _, content in bad))
                    self._database.executemany("DELETE FROM measurements WHERE number = ?", [row[:1] for row in bad])
        except sqlite3.Error as error:  # a damaged page
            log.error("measurements that waited can't be read: %s", error)
            return 0, ()
        return (rows[-1][0] if rows else 0), tuple(one for _, _, one in read if one is not None)

    def acknowledge(self, number: int) -> bool:
        """The service has all up to this number. False: they are still there, and will be sent again."""
        try:
            with self._database:
                self._database.execute("DELETE FROM measurements WHERE number <= ?", (number,))
        except sqlite3.Error as error:
            log.error("measurements that arrived could not be forgotten: %s", error)
            return False
        return True

    def close(self) -> None:
        """Close it; what was put is on disk."""
        self._database.close()


def _decode(content: bytes) -> Measurement | None:
    """None for one that another version wrote, or a faulty disk."""
    try:
        return msgspec.msgpack.decode(content, type=Measurement)
    except UNREADABLE:
        return None


def _open(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=2.0)
    try:
        # WAL without a sync for each commit: a crash of the agent loses nothing, a power cut the last few.
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(_SCHEMA)
        database.execute(ASIDE)
    except BaseException:
        database.close()
        raise
    return database

"""Measurements that the decision service has not acknowledged: on disk, bounded, oldest first.

Without a disk they wait in memory. Beyond MOST of them the oldest are dropped: an outage of a day at the usual rate
loses nothing.
"""

import logging
import sqlite3
from pathlib import Path

import msgspec

from tierwise.telemetry import Measurement

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
        """The oldest measurements, and the number to acknowledge them by."""
        query = "SELECT number, content FROM measurements ORDER BY number LIMIT ?"
        rows = self._database.execute(query, (most,)).fetchall()
        found = tuple(msgspec.msgpack.decode(content, type=Measurement) for _, content in rows)
        return (rows[-1][0] if rows else 0), found

    def acknowledge(self, number: int) -> None:
        """The service has all up to this number."""
        with self._database:
            self._database.execute("DELETE FROM measurements WHERE number <= ?", (number,))

    def close(self) -> None:
        """Close it; what was put is on disk."""
        self._database.close()


def _open(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=2.0)
    try:
        # WAL without a sync for each commit: a crash of the agent loses nothing, a power cut the last few.
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database

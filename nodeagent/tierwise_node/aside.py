"""Rows of the agent's databases that can't be read (another version's, a faulty disk's): out of the way of all others,
and kept for a person to look at."""

import logging
import sqlite3
from collections.abc import Iterable

UNREADABLE = (ValueError, TypeError, RecursionError)
"""What decoding such a row raises: msgspec's errors are ValueErrors, and so are those of text that is not UTF-8."""
MOST = 1000
"""Rows that are kept; of more the oldest go."""
SCHEMA = "CREATE TABLE IF NOT EXISTS unreadable (number INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL)"
log = logging.getLogger(__name__)


def set_aside(database: sqlite3.Connection, what: str, contents: Iterable[bytes]) -> None:
    """Keep these rows, in the caller's transaction, and say so once for all of them."""
    rows = [(content,) for content in contents]
    database.executemany("INSERT INTO unreadable (content) VALUES (?)", rows)
    database.execute("DELETE FROM unreadable WHERE number <= (SELECT MAX(number) FROM unreadable) - ?", (MOST,))
    kept = database.execute("SELECT COUNT(*) FROM unreadable").fetchone()[0]
    log.error(
        "%d %s can't be read: set aside in the table `unreadable`, with %d before", len(rows), what, kept - len(rows)
    )

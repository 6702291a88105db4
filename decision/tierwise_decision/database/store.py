"""The way to the database: reads in threads with a time limit, writes collected and committed by one writer.

Nobody waits for the database but who asks to: a plan waits at most PATIENCE seconds for its commit and is answered
all the same. While the database is away, rows wait in memory, reports on disk, and `problem` says why.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from sqlalchemy import Connection, Engine, delete
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from tierwise.errors import UnavailableError
from tierwise.messages import JobReport, NodeSample
from tierwise_decision.complaints import Complaints
from tierwise_decision.database import reads
from tierwise_decision.database.batch import Batch
from tierwise_decision.database.engine import for_reading
from tierwise_decision.database.migrate import migrate
from tierwise_decision.database.models import Request
from tierwise_decision.spool import Spool

PATIENCE = 1.0
_GATHER = 0.02
"""Seconds before a commit that a job's start waits for: what comes meanwhile goes together."""
_LAZY = 0.25
"""The same where nobody waits, or agents alone do, at their leisure: a commit costs several times what answering a
submission does."""
_HEARTBEAT = 10.0
"""A write at least every so many seconds: so we know that the database is gone before a job's report does."""
_RETRY = (1.0, 10.0)
"""First and longest wait, in seconds, after a failure."""
_SPOOL_BATCH = 200
_PROBE = delete(Request).where(Request.token == "-")  # noqa: S105
"""Writes nothing, but fails where writing would."""
KnownNodes = Iterable[tuple[NodeSample, int]]
T = TypeVar("T")
log = logging.getLogger("tierwise.decision")


class Store:
    """One database. `run` is its writer: a task that lives as long as the service.

    `restore` gets the nodes that the database knows, with the time of their last change, once it could be opened.
    """

    def __init__(
        self, engine: Engine, spool: Spool, complain: Complaints, restore: Callable[[KnownNodes], None]
    ) -> None:
        self._engine, self._readers = engine, for_reading(engine)
        self._spool = spool
        self._complain = complain
        self._restore = restore
        self._ready = False
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = asyncio.Event()
        self._waiting: list[asyncio.Future[bool]] = []
        self._no_reads_before = 0.0
        self._retry = _RETRY[0]
        self.pending = Batch()
        self.problem = ""
        self.opened = asyncio.Event()
        """Set once the database could be opened, and has its tables."""

    @property
    def backend(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    async def read(self, question: Callable[[Connection], T]) -> T:
        """Ask in a thread. Raises UnavailableError, at once for a second after a failure."""
        if time.monotonic() < self._no_reads_before:
            raise UnavailableError("the database could not be read a moment ago")

        def ask() -> T:
            with self._readers.connect() as connection:
                return question(connection)

        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.to_thread(ask)
        except (SQLAlchemyError, TimeoutError, OSError) as error:
            self._no_reads_before = time.monotonic() + _RETRY[0]
            self._complain("database", f"could not read: {_first_line(error)}")
            raise UnavailableError(f"the database can't be read: {_first_line(error)}") from None

    async def maintain(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction of its own that nobody waits for. Raises UnavailableError."""

        def do() -> T:
            with self._readers.begin() as connection:
                return work(connection)

        try:
            return await asyncio.to_thread(do)
        except (SQLAlchemyError, OSError) as error:
            self._complain("database", f"could not maintain: {_first_line(error)}")
            raise UnavailableError(f"the database can't be maintained: {_first_line(error)}") from None

    def wake(self) -> None:
        """There is something in `pending`."""
        self._wake.set()

    async def committed(self, *, soon: bool = False) -> bool:
        """Wait until what is in `pending` now has been committed; False when it was not within PATIENCE seconds.
        `soon`: a job's start waits for it."""
        self._wake.set()
        if soon:
            self._urgent.set()
        if self.problem:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            return False

    async def keep(self, report: JobReport) -> Literal["database", "spool"]:
        """Make a report safe, and say where. Raises SpoolError when neither takes it."""
        if not self.problem:
            self.pending.reports.append(report)
            if await self.committed():
                return "database"
        await asyncio.to_thread(self._spool.put, report)
        return "spool"

    async def run(self) -> None:
        """Open the database, then write what is pending again and again until `close`, and once more."""
        while not self._closing.is_set():
            await self._round()
            await self._pause()
        await self._round()
        if self.pending:
            log.error("stopped with %d rows that the database did not take: %s", len(self.pending), self.problem)
        await asyncio.to_thread(self._engine.dispose)

    def close(self) -> None:
        """Let `run` end after what is pending."""
        self._closing.set()
        self._wake.set()
        self._urgent.set()

    async def _pause(self) -> None:
        if self.problem:
            await _within(self._retry, self._closing)
            self._retry = min(self._retry * 2, _RETRY[1])
        else:
            self._retry = _RETRY[0]
            await _within(_HEARTBEAT, self._wake)
            await _within(_LAZY, self._urgent)
            await _within(_GATHER, self._closing)

    async def _round(self) -> None:
        batch, self.pending = self.pending, Batch()
        waiting, self._waiting = self._waiting, []
        self._wake.clear()
        self._urgent.clear()
        try:
            known = await asyncio.to_thread(self._open)
            self.opened.set()
            whole = await asyncio.to_thread(self._write, batch)
            self._restore(known)
            if len(self._spool) and await asyncio.to_thread(self._empty_spool):
                self._wake.set()  # there may be more
        except Exception as error:  # a writer that has died would be worse than any of them
            whole = False
            self._fail(error)
            # A connection remembers what it met: SQLite opens a file that it may not write for reading, for good.
            await asyncio.to_thread(self._engine.dispose)
            self.pending = batch.before(self.pending)
            waiting += self._waiting
            self._waiting = []
        else:
            if self.problem:
                log.info("the database takes writes again")
            self.problem = ""
        for future in waiting:
            if not future.done():
                future.set_result(whole)
                await asyncio.sleep(0)  # one by one: all their answers at once would keep the hook waiting

    def _fail(self, error: BaseException) -> None:
        self.problem = f"database: {_first_line(error)}"
        self._complain("database", f"could not write: {_first_line(error)}; reports go to the spool meanwhile")

    def _open(self) -> KnownNodes:
        """Migrate and read the nodes, once."""
        if self._ready:
            return ()
        migrate(self._engine)
        with self._engine.connect() as connection:
            known = list(reads.nodes(connection))
        self._ready = True
        return known

    def _write(self, batch: Batch) -> bool:
        """Commit a batch; False when rows of it were dropped because the database will never have them."""
        try:
            self._commit(batch)
        except StatementError as error:
            if not _is_bad_row(error):
                raise
            return all([self._commit_alone(single) for single in batch.singly()])
        return True

    def _commit(self, batch: Batch) -> None:
        with self._engine.begin() as connection:
            if not batch:
                connection.execute(_PROBE)
            batch.write(connection, time.time_ns())

    def _commit_alone(self, single: Batch) -> bool:
        try:
            self._commit(single)
        except StatementError as error:
            if not _is_bad_row(error):
                raise
            self._complain("row", f"the database refused a row for good: {_first_line(error)}")
            return False
        return True

    def _empty_spool(self) -> bool:
        """Write some of the reports that wait on disk; whether there were any to write."""
        found = self._spool.some(_SPOOL_BATCH)
        batch = Batch()
        batch.reports = [report for _, report in found]
        if self._write(batch):
            for path, _ in found:
                self._spool.remove(path)
            return bool(found)
        for (path, _), single in zip(found, batch.singly(), strict=True):
            if self._commit_alone(single):
                self._spool.remove(path)
            else:
                self._spool.refuse(path)
        return True


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _is_bad_row(error: StatementError) -> bool:
    """The row is at fault (a NUL in a PostgreSQL text, a number too large), and not the database."""
    return not isinstance(error, DBAPIError) or isinstance(error, (DataError, IntegrityError))


def _first_line(error: BaseException) -> str:
    """The driver's own words, without the statement and its parameters."""
    origin = getattr(error, "orig", None) or error
    return str(origin).strip().partition("\n")[0] or type(origin).__name__

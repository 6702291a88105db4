"""Which nodes are marked as slow: by the evidence that the policy finds, or by an admin's word.

Marks are in the database, so that all services on it agree. Each service judges the nodes that report to it.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from statistics import median

from tierwise.errors import RefusedError, UnavailableError
from tierwise.telemetry import NodeEvent, Straggler, StragglerOrder
from tierwise_decision.database import telemetry as tables
from tierwise_decision.database.store import Store
from tierwise_decision.known import Known
from tierwise_decision.telemetry import READ_EVERY, SECOND, Loads
from tierwise_policy import straggler
from tierwise_policy.straggler import Evidence

PARDON_HOURS = 24.0
RUNS = 64
"""Completed runs that count, of each node and of each signature; older ones than EXPIRES don't."""
EXPIRES = 7 * 24 * 3600 * SECOND
JUDGE_EVERY = 60.0
SIGNATURES = 50_000
"""Kinds of jobs whose run times stay in memory."""


class Stragglers:
    """The marks. `loads.heard` leads to a verdict on the node that spoke."""

    def __init__(self, known: Known, store: Store, loads: Loads) -> None:
        self._known, self._store, self._loads = known, store, loads
        self._marks: dict[str, Straggler] = {}
        self._changed: dict[str, float] = {}
        """When we changed a mark ourselves: what is read of it just then may be older."""
        self._seconds: OrderedDict[str, deque[float]] = OrderedDict()
        self._slowdowns: dict[str, deque[tuple[int, float]]] = defaultdict(lambda: deque(maxlen=RUNS))
        self._slow: dict[str, Evidence] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called when a mark comes or goes."""

    def mark(self, node: str) -> Straggler | None:
        """A node's mark."""
        return self._marks.get(node)

    def all(self) -> list[Straggler]:
        """Every mark, by node."""
        return [self._marks[node] for node in sorted(self._marks)]

    def avoided(self) -> dict[str, Straggler]:
        """The nodes that jobs are kept away from."""
        return {node: mark for node, mark in self._marks.items() if mark.avoided}

    def judge(self, node: str) -> None:
        """Look at a node again: its load has been reported, or a run has ended there."""
        before, now = self._marks.get(node), time.time_ns()
        marked = before is not None and before.avoided
        history = self._loads.history(node)
        fresh = history and now - history[-1].time < EXPIRES
        evidence = [straggler.busy(history, marked) if fresh else None, self._slow.get(node)]
        self._put(node, before, straggler.judge(now, before, node, evidence))

    def order(self, uid: int, wanted: StragglerOrder) -> Straggler:
        """An admin's word. Raises RefusedError for a node that has never reported."""
        if self._loads.load(wanted.node) is None:
            raise RefusedError(f"node {wanted.node} is not known here", 404)
        now = time.time_ns()
        hours = wanted.hours or (PARDON_HOURS if wanted.order == "pardon" else 0.0)
        until = now + int(hours * 3600 * SECOND) if hours else 0
        said = f": {wanted.reason}" if wanted.reason else ""
        evidence = f"an admin's word{said}"
        mark = Straggler(wanted.node, "pinned" if wanted.order == "pin" else "pardoned", now, evidence, 0.0, until, uid)
        self._put(wanted.node, self._marks.get(wanted.node), mark)
        return mark

    def completed(self, node: str, signature: str, ended: int, seconds: float) -> float:
        """A run has completed on a node; its run time over the median of its signature so far."""
        times = self._times(signature)
        times.append(seconds)
        slowdown = seconds / max(median(times), 1e-9)
        self._slowdowns[node].append((ended, slowdown))
        return slowdown

    async def compare(self) -> None:
        """Judge the nodes by the runs that completed on them. Not for each of them: it goes through all."""
        recent = time.time_ns() - EXPIRES
        by_node = {
            node: [slowdown for ended, slowdown in runs if ended >= recent] for node, runs in self._slowdowns.items()
        }
        found = await asyncio.to_thread(straggler.slow, by_node, self.avoided())
        before, self._slow = self._slow, found
        for node in {*before, *found, *self._marks}:
            self.judge(node)

    async def run(self) -> None:
        """Read the marks that other services have made, and let old evidence expire, as long as the service runs."""
        await self._read_runs()
        compared = 0.0
        while True:
            with contextlib.suppress(UnavailableError):
                await self._read()
            if time.monotonic() - compared >= JUDGE_EVERY:
                compared = time.monotonic()
                await self.compare()
            await asyncio.sleep(READ_EVERY)

    async def _read(self) -> None:
        asked = time.monotonic()
        found = await self._store.read(tables.marks)
        settled = [node for node in {*found, *self._marks} if self._changed.get(node, -9.0) < asked - READ_EVERY]
        for node in settled:
            self._set(node, found.get(node))

    async def _read_runs(self) -> None:
        """The completed runs of before our start."""
        since = time.time_ns() - EXPIRES
        while True:
            try:
                rows = await self._store.read(lambda connection: tables.slowdowns(connection, since))
                break
            except UnavailableError:
                await asyncio.sleep(READ_EVERY)
        for node, ended, signature, seconds, slowdown in rows:
            self._times(signature).append(seconds)
            self._slowdowns[node].append((ended, slowdown))

    def _times(self, signature: str) -> deque[float]:
        """The run times of a signature, of as many signatures as are kept."""
        times = self._seconds.setdefault(signature, deque(maxlen=RUNS))
        self._seconds.move_to_end(signature)
        if len(self._seconds) > SIGNATURES:
            self._seconds.popitem(last=False)
        return times

    def _put(self, node: str, before: Straggler | None, mark: Straggler | None) -> None:
        self._set(node, mark)
        told = (mark.state, mark.until) if mark else None
        if told == ((before.state, before.until) if before else None):
            return  # the numbers of its evidence move with each measurement: that is no news
        self._changed[node] = time.monotonic()
        rows = self._store.pending.telemetry
        rows.mark(node, mark)
        words = f"{mark.state}: {mark.evidence}" if mark else "no longer a straggler: its evidence has gone"
        rows.event(NodeEvent(node, time.time_ns(), "straggler", words[:512]))
        self._store.wake()
        self.changed()

    def _set(self, node: str, mark: Straggler | None) -> None:
        if mark is None:
            self._marks.pop(node, None)
        else:
            self._marks[node] = mark
        self._known.avoid(node, mark.number or 1.0 if mark and mark.avoided else None)

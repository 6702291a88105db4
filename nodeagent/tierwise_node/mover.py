"""Carries the movement policy out: asks it each beat, moves, verifies, and tells what it did."""

from __future__ import annotations

import asyncio
import logging
import mmap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from tierwise.plans import Moves
from tierwise.tiers import Tier
from tierwise_node.below import NAME as BELOW
from tierwise_node.below import Below, is_told_of_reads
from tierwise_node.events import Events
from tierwise_node.jobs import Jobs
from tierwise_node.numa import kernel_demotes
from tierwise_node.pages import Moved
from tierwise_node.placer import Placer
from tierwise_node.record import JobRecord
from tierwise_node.restraint import outline, worth_it
from tierwise_node.sights import Sights
from tierwise_node.tiers import Topology
from tierwise_policy.below import paged_out
from tierwise_policy.heat import RANGE, Window
from tierwise_policy.holdings import Holding, Level
from tierwise_policy.movement import REPAIR, Decision, Move, decide
from tierwise_policy.placement import Correction

log = logging.getLogger(__name__)
LONGEST_PAUSE, LONGEST_REST = 60.0, 600.0
"""Seconds after which a job whose pages would not move, or would not stay, is asked again, at most."""
PIECE_SECONDS = 0.2
SMALLEST_PIECE, LARGEST_PIECE = 8 << 20, 256 << 20
"""Bytes that one call of the placer moves: between two the agent looks at the clock."""
UNASKED = 10.0
"""Seconds after which there is a new decision though nothing seems to have changed."""
CHURN, CHURN_SECONDS = 4, 30.0
"""A job may be moved so many times over at once, and once over in so many seconds for ever."""
CHURNING = 0.005
"""The part of one CPU that moving jobs beyond that may take: they move their pages back by themselves."""


@dataclass
class _Rest:
    """A job, or its moves from one tier to another: pages would not move, and the pause doubles; or would not stay."""

    pause: float
    until: float


@dataclass
class _Churn:
    """Bytes moved for one job, and the seconds that took; what it may be moved for ever has been taken off."""

    time: float
    moved: float = 0.0
    took: float = 0.0


class Mover:
    """Moves at most `rate` bytes per second each way. `windows`: the newest heat of each job. `below`: see Below."""

    def __init__(
        self, jobs: Jobs, topology: Topology, placer: Placer, events: Events, rate: int, below: Below | None = None
    ) -> None:
        self._jobs, self._topology, self._placer, self._events = jobs, topology, placer, events
        self._rate, self._below = rate, below
        self._names = (*topology.order, BELOW)
        self._sights = Sights(placer, topology)
        self._piece = SMALLEST_PIECE
        self._resting: dict[int, _Rest] = {}
        self._churn: dict[int, _Churn] = {}
        self._stuck: dict[tuple[int, int, int], _Rest] = {}
        """Jobs and tiers, from and to, between which nothing went when it was last tried."""
        self._settled: object = None
        """What there was to decide on when nothing was to be moved."""
        self._asked = 0.0

    async def beat(
        self,
        windows: Mapping[int, Window],
        tiers: Sequence[Tier],
        margins: Mapping[str, int],
        seconds: float,
        deadline: float,
    ) -> None:
        """One decision and its moves; what the deadline (monotonic seconds) cuts off, the next beat decides anew."""
        self._forget()
        records = [record for record in list(self._jobs.records.values()) if self._may_move(record)]
        if not records:
            return
        seen = outline(records, tiers, margins)
        news = any(self._sights.is_news(each, windows.get(each.key.job_id)) for each in records)
        if seen == self._settled and not news and time.monotonic() < self._asked + UNASKED:
            return
        self._asked = time.monotonic()
        demotes = bool(kernel_demotes())
        levels = [
            Level(tier.name, tier.latency_ns, tier.bandwidth, tier.free, margins.get(tier.name, 0), demotes)
            for tier in tiers
        ]
        decision, out = await asyncio.to_thread(self._decide, records, windows, levels, int(self._rate * seconds))
        for record in records:
            lent = decision.lent[record.key.job_id]
            record.lent = {name: int(size) for name, size in zip(self._topology.order, lent, strict=True) if size}
        moves = [*out, *worth_it(decision.moves, records)]
        self._settled = None if moves else seen
        moved = {move.job_id for move in moves}
        for record in records:
            self._sights.decided(record.key.job_id, record.key.job_id in moved)
        await self._carry_out(moves, deadline)
        self._events.end_beat()

    def _decide(
        self, records: Sequence[JobRecord], windows: Mapping[int, Window], levels: list[Level], limit: int
    ) -> tuple[Decision, list[Move]]:
        """What moves between the tiers, and what goes below the last."""
        self._sights.forget_settled()
        holdings: list[Holding] = [self._sights.holding(each, windows.get(each.key.job_id)) for each in records]
        out: list[Move] = []
        if self._below is not None and (room := self._below.room):
            known = [each for each in holdings if is_told_of_reads(windows.get(each.job_id))]
            out = paged_out(known, levels, self._sights.recent, min(limit, room))
        return decide(holdings, levels, self._sights.recent, limit), out

    def _may_move(self, record: JobRecord) -> bool:
        job_id = record.key.job_id
        rest = self._resting.get(job_id)
        resting = rest is not None and time.monotonic() < rest.until and not record.pin_missing
        return record.movable and job_id in self._jobs.usages and not resting

    # --- moving -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, moves: Sequence[Move], deadline: float) -> None:
        """Between two tiers where nothing of a job went nothing is tried for a pause that doubles, but to repair a pin:
        its other moves may do, and the deadline must not keep them from being made for ever."""
        begun = False
        corrected: dict[int, Moves] = {}
        for batch in self._batches(moves):
            if begun and time.monotonic() > deadline:
                break
            first = batch[0]
            record = self._jobs.records.get(first.job_id)
            if record is not None and self._may_move(record) and not self._pauses(first):
                done = await self._move(record, batch)
                begun = True
                if first.pid == 0:
                    corrected[first.job_id] = corrected.get(first.job_id, Moves()) + done
                    self._tried(_way(first), done)
        for job_id, done in corrected.items():
            if not done.landed:
                before = self._resting.get(job_id)
                self._rest(job_id, f"none of {done.asked} pages went where its plan says", _longer(before))

    def _pauses(self, move: Move) -> bool:
        rest = self._stuck.get(_way(move))
        return move.pid == 0 and move.why != REPAIR and rest is not None and time.monotonic() < rest.until

    def _tried(self, way: tuple[int, int, int], done: Moves) -> None:
        before = self._stuck.pop(way, None)
        if not done.landed:
            pause = _longer(before)
            self._stuck[way] = _Rest(pause, time.monotonic() + pause)

    def _batches(self, moves: Sequence[Move]) -> Iterator[list[Move]]:
        """Neighbours that one call can do: the same process, tiers and reason, a piece at a time."""
        for _, same in groupby(moves, key=lambda move: (move.job_id, move.pid, move.source, move.target, move.why)):
            batch: list[Move] = []
            for move in same:
                batch.append(move)
                if sum(each.size for each in batch) >= self._piece:
                    yield batch
                    batch = []
            if batch:
                yield batch

    async def _move(self, record: JobRecord, batch: list[Move]) -> Moves:
        first, size = batch[0], sum(move.size for move in batch)
        source, target = self._names[first.source], self._names[first.target]
        begun = time.monotonic()
        if first.pid == 0:
            correction = Correction(source, target, size)
            moves = await asyncio.to_thread(
                self._placer.correct, self._jobs.groups[first.job_id], record.uid, correction
            )
            if moves.landed:
                self._resting.pop(first.job_id, None)
        else:
            moves = await asyncio.to_thread(self._move_ranges, record, batch, source, target, size)
        took = time.monotonic() - begun
        self._adapt(took)
        up = first.target < first.source
        record.count(moves, promoted=moves.landed if up else 0, demoted=0 if up else moves.landed)
        self._count_churn(record, moves.landed * mmap.PAGESIZE, took)
        if moves.landed:
            what = "promoted" if up else "demoted"
            self._events.moved(what, first.job_id, source, target, moves.landed, first.why)
        return moves

    def _move_ranges(self, record: JobRecord, batch: list[Move], source: str, target: str, size: int) -> Moves:
        first = batch[0]
        rows = np.zeros(len(batch), RANGE)
        rows["pid"] = first.pid
        rows["start"], rows["end"] = [move.start for move in batch], [move.end for move in batch]
        ended = Moved(Moves(), {}, 0, True)
        if target == BELOW and self._below is not None:
            moved = self._below.page_out(first.job_id, record.uid, first.pid, rows, source, size) or ended
            self._sights.paged_out(first.job_id, rows, first.source, moved)
        else:
            move = self._placer.move_ranges
            moved = move(first.job_id, record.uid, first.pid, rows, source, target, size) or ended
            self._sights.landed(first.job_id, rows, first.source, first.target, moved)
        return moved.moves

    def _adapt(self, seconds: float) -> None:
        """Pieces that take about PIECE_SECONDS: long ones would hold up the next beat, short ones waste calls."""
        if seconds > PIECE_SECONDS * 2:
            self._piece = max(self._piece // 2, SMALLEST_PIECE)
        elif seconds < PIECE_SECONDS / 2:
            self._piece = min(self._piece * 2, LARGEST_PIECE)

    def _rest(self, job_id: int, why: str, pause: float) -> None:
        """Leave a job alone for so many seconds."""
        self._resting[job_id] = _Rest(pause, time.monotonic() + pause)
        log.info("job %d: %s: it rests for %.0f s", job_id, why, pause)

    def _count_churn(self, record: JobRecord, moved: int, took: float) -> None:
        job_id, now, size = record.key.job_id, time.monotonic(), sum(record.found.values())
        churn = self._churn.setdefault(job_id, _Churn(now))
        kept = max(1 - size * (now - churn.time) / CHURN_SECONDS / churn.moved, 0.0) if churn.moved else 0.0
        churn.moved, churn.took, churn.time = churn.moved * kept + moved, churn.took * kept + took, now
        if churn.moved > max(CHURN * size, LARGEST_PIECE):
            alike = 1 + sum(rest.until > now for rest in self._resting.values())
            pause = min(churn.took / CHURNING * alike, LONGEST_REST)
            self._rest(job_id, "its pages don't stay where they are moved", pause)
            del self._churn[job_id]

    def _forget(self) -> None:
        for kept in (self._resting, self._churn):
            for job_id in [job_id for job_id in kept if job_id not in self._jobs.records]:
                del kept[job_id]
        self._stuck = {way: rest for way, rest in self._stuck.items() if way[0] in self._jobs.records}
        self._placer.keep_only(self._jobs.records)
        self._sights.keep_only(self._jobs.records)


def _way(move: Move) -> tuple[int, int, int]:
    return move.job_id, move.source, move.target


def _longer(before: _Rest | None) -> float:
    return min(before.pause * 2, LONGEST_PAUSE) if before else 1.0

"""The agent's beat: sample every job, see whether its bytes are where its plan says, and move what is not."""

import asyncio
import logging
import mmap
import time
from dataclasses import dataclass

from tierwise.tiers import TierName
from tierwise_node.jobs import Jobs
from tierwise_node.placer import Placer
from tierwise_node.record import JobRecord
from tierwise_node.tiers import Topology
from tierwise_policy.placement import Correction, agrees, corrections

log = logging.getLogger(__name__)
LONGEST_PAUSE = 60.0
"""Seconds after which a job whose pages would not move is asked again, at most."""
PIECE_SECONDS = 0.2
SMALLEST_PIECE, LARGEST_PIECE = 8 << 20, 256 << 20
"""Bytes that one call of the placer moves: between two the agent looks at the clock."""


@dataclass
class _Futile:
    """A job whose pages would not move: asked again after a pause that doubles."""

    pause: float
    until: float


class Watch:
    """Beats once per `interval` seconds and moves at most `rate` bytes per second."""

    def __init__(self, jobs: Jobs, topology: Topology, placer: Placer, interval: float, rate: int) -> None:
        self._jobs, self._topology, self._placer = jobs, topology, placer
        self._interval, self._rate = interval, rate
        self._piece = SMALLEST_PIECE
        self._futile: dict[int, _Futile] = {}

    async def run(self) -> None:
        """Beat until cancelled. No failure of one beat ends it: it is logged, and the next one comes."""
        while True:
            begun = time.monotonic()
            try:
                self._jobs.observe()
                self._forget()
                await self._place(begun + self._interval)
            except Exception:
                log.exception("a beat failed")
            await asyncio.sleep(max(self._interval - (time.monotonic() - begun), 0.05))

    async def _place(self, deadline: float) -> None:
        wanted = [(record, each) for record in list(self._jobs.records.values()) for each in self._excess(record)]
        if not wanted:
            return
        free = {tier.name: tier.free for tier in self._jobs.tiers()}
        budget = int(self._rate * self._interval)
        for record, correction in wanted:
            landed = await self._move(record, correction, min(budget, free[correction.target]), deadline)
            free[correction.target] -= landed
            budget -= landed

    def _excess(self, record: JobRecord) -> tuple[Correction, ...]:
        """What one job has in the wrong place, and the count of whether it agrees with its plan."""
        if record.plan is None or record.key.job_id not in self._jobs.usages:
            return ()
        order = self._topology.order
        excess = corrections(record.plan, record.found, order)
        seconds = sum(each.size for each in excess) / self._rate
        record.compare(record.seen, agrees(record.plan, record.found, order), seconds)
        futile = self._futile.get(record.key.job_id)
        return () if futile and time.monotonic() < futile.until else excess

    async def _move(self, record: JobRecord, correction: Correction, most: int, deadline: float) -> int:
        job_id = record.key.job_id
        left, landed = min(correction.size, most), 0
        while left >= mmap.PAGESIZE and (not landed or time.monotonic() < deadline):
            piece = Correction(correction.source, correction.target, min(left, self._piece))
            begun = time.monotonic()
            moves = await asyncio.to_thread(self._placer.correct, self._jobs.groups[job_id], record.uid, piece)
            self._adapt(time.monotonic() - begun)
            record.moves += moves
            if not moves.landed:
                self._give_up_for_now(job_id, correction, moves.asked)
                break
            self._futile.pop(job_id, None)
            landed += moves.landed * mmap.PAGESIZE
            left = min(correction.size, most) - landed
        return landed

    def _adapt(self, seconds: float) -> None:
        """Pieces that take about PIECE_SECONDS: long ones would hold up the next beat, short ones waste calls."""
        if seconds > PIECE_SECONDS * 2:
            self._piece = max(self._piece // 2, SMALLEST_PIECE)
        elif seconds < PIECE_SECONDS / 2:
            self._piece = min(self._piece * 2, LARGEST_PIECE)

    def _give_up_for_now(self, job_id: int, correction: Correction, asked: int) -> None:
        before = self._futile.get(job_id)
        pause = min(before.pause * 2, LONGEST_PAUSE) if before else self._interval
        self._futile[job_id] = _Futile(pause, time.monotonic() + pause)
        log.info(
            "job %d: none of %d pages went from %s to %s: asked again in %g s",
            job_id,
            asked,
            correction.source,
            correction.target,
            pause,
        )

    def _forget(self) -> None:
        for job_id in [job_id for job_id in self._futile if job_id not in self._jobs.records]:
            del self._futile[job_id]
        self._placer.keep_only(self._jobs.records)


def tier_rate(configured: int, bandwidths: dict[TierName, int]) -> int:
    """Bytes per second that may be moved: agent.move_limit, or a tenth of the slowest tier's bandwidth."""
    return configured or max(min(bandwidths.values()) // 10, 1)

"""All granted memory of this node: within each job's limit, known to its plan, and taken back where a tier runs short.

No call waits for anything, so two requests never see the same room: they are granted one after the other.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from tierwise.errors import RefusedError
from tierwise.tiers import TierName
from tierwise.units import format_size
from tierwise_node.cgroups import Cgroups
from tierwise_node.jobs import Jobs
from tierwise_node.memory.pieces import Pieces
from tierwise_node.memory.regions import Region, Regions
from tierwise_node.planner import evictable
from tierwise_node.server import Peer
from tierwise_node.tiers import Topology
from tierwise_policy.allocation import TierRoom
from tierwise_policy.grants import Grant, grant, parse_hint

log = logging.getLogger(__name__)
MARGIN = 0.03
"""A tier with less than this part of it free is short of memory."""
NOTICE = 5.0
"""Seconds between an event and the moment from which the memory may be moved."""
MOST_PROCESSES, MOST_PER_USER, MOST_PIECES = 2048, 1024, 4096
MOST_PIECES_PER_USER = 65536
"""Some 25 MB: the agent's unit bounds its memory."""


@dataclass(eq=False)
class Holder:
    """A process with a session: what it was granted, and the pipe that takes its events, -1 before it asks."""

    peer: Peer
    job_id: int
    pieces: Pieces
    regions: dict[str, Region]
    events: int = -1
    warned: dict[TierName, float] = field(default_factory=dict)


class Granting:
    """Grants memory. Lives as long as the agent; `use` gives it what a reload made anew."""

    def __init__(self, regions: Regions) -> None:
        self.regions = regions
        self.holders: list[Holder] = []
        self._short: dict[TierName, float] = {}
        self._jobs: Jobs
        self._cgroups: Cgroups
        self._topology: Topology

    def use(self, jobs: Jobs, cgroups: Cgroups, topology: Topology) -> None:
        """What is asked from now on."""
        self._jobs, self._cgroups, self._topology = jobs, cgroups, topology

    # --- who ---------------------------------------------------------------------------------------------------------

    def begin(self, peer: Peer) -> Holder:
        """A process opens its session. Raises RefusedError unless it is in a job of its user on this node."""
        job_id = self._cgroups.job_of(peer.pid)
        if job_id is None:
            raise RefusedError(f"process {peer.pid} is in no job on this node")
        record = self._jobs.records.get(job_id)
        if record is not None and record.uid != peer.uid:
            raise RefusedError(f"job {job_id} is not of uid {peer.uid}")
        own = sum(holder.peer.uid == peer.uid for holder in self.holders)
        if len(self.holders) >= MOST_PROCESSES or own >= MOST_PER_USER:
            raise RefusedError(
                f"too many processes ask for memory: {own} of uid {peer.uid}, {len(self.holders)} in all"
            )
        holder = Holder(peer, job_id, Pieces(), {})
        self.holders.append(holder)
        return holder

    def end(self, holder: Holder) -> None:
        """The process has gone, or its program has."""
        self.holders.remove(holder)
        self._tell_plan(holder.job_id)
        self.end_regions()

    def pieces_of(self, uid: int) -> int:
        """How many ranges the processes of a user were granted."""
        return sum(len(holder.pieces) for holder in self.holders if holder.peer.uid == uid)

    # --- how much ----------------------------------------------------------------------------------------------------

    def ask(self, holder: Holder, hint: str, size: int, where: str = "memory") -> Grant:
        """What a job gets for `size` more bytes. Raises RefusedError."""
        limit = self._limit(holder.job_id)
        granted = self._granted(holder.job_id)
        if limit and sum(granted.values()) + size > limit:
            raise RefusedError(
                f"job {holder.job_id} may have {format_size(limit)} on this node and was granted "
                f"{format_size(sum(granted.values()))}: {format_size(size)} more of {where} are too many"
            )
        try:
            return grant(parse_hint(hint), size, self._rooms(holder.job_id, granted))
        except ValueError as error:
            raise RefusedError(str(error)) from None

    def _limit(self, job_id: int) -> int:
        """The job's memory on this node; 0 where it has no limit."""
        record, group = self._jobs.records.get(job_id), self._jobs.groups.get(job_id)
        return (record and record.memory) or (group and group.limit()) or 0

    def _rooms(self, job_id: int, granted: dict[TierName, int]) -> list[TierRoom]:
        """What each tier can give, less what the job was granted and has not touched yet."""
        tiers = self._jobs.tiers()
        room = evictable(tiers, self._jobs.records.values(), self._jobs.usages, but=job_id)
        record = self._jobs.records.get(job_id)
        found, scratch = (record.found, record.scratch) if record else ({}, {})
        for tier, size in _sum([granted, scratch]).items():
            room[tier] = max(room.get(tier, 0) - max(size - found.get(tier, 0), 0), 0)
        return [TierRoom(tier.name, room[tier.name], tier.bandwidth, 0) for tier in tiers]

    def _granted(self, job_id: int) -> dict[TierName, int]:
        """What counts against a job's limit: its programs' memory, and the regions that it created."""
        pieces = (holder.pieces.tiers() for holder in self.holders if holder.job_id == job_id)
        return _sum([*pieces, *(region.tiers for region in self.regions if region.job_id == job_id)])

    def _used(self, job_id: int) -> dict[TierName, int]:
        """What may lie on each tier because of grants: the kernel counts a region's pages as of who touched them."""
        holders = [holder for holder in self.holders if holder.job_id == job_id]
        held = {id(region): region for holder in holders for region in holder.regions.values()}
        return _sum([*(holder.pieces.tiers() for holder in holders), *(region.tiers for region in held.values())])

    def tell_plan(self, holder: Holder) -> None:
        """What a holder has, has changed."""
        self._tell_plan(holder.job_id)

    def _tell_plan(self, job_id: int) -> None:
        """What was granted is part of the job's plan, so that nobody takes it for bytes in the wrong place."""
        record = self._jobs.records.get(job_id)
        if record is not None and record.plan is not None:
            granted = dict(Counter(self._used(job_id)) + Counter(record.scratch))
            if granted != record.plan.granted:
                record.plan = msgspec.structs.replace(record.plan, granted=granted)

    def end_regions(self) -> None:
        """End the regions that nobody holds any more."""
        for region in self.regions.end_unheld():
            self._tell_plan(region.job_id)

    def kept(self, pid: int) -> list[tuple[int, int]]:
        """The ranges of a process that stay where they were granted, ascending. For the mover's thread, too."""
        holders = [holder for holder in tuple(self.holders) if holder.peer.pid == pid]
        return sorted((piece.start, piece.end) for holder in holders for piece in holder.pieces if piece.kept)

    # --- taking back -------------------------------------------------------------------------------------------------

    def beat(self) -> list[tuple[Holder, TierName, int]]:
        """Look at the tiers: who is to be told that memory is being taken back there, and how much. Takes back what
        was told of long enough ago.
        """
        self.regions.cut_back()
        self.end_regions()
        for job_id in {holder.job_id for holder in self.holders}:
            self._tell_plan(job_id)
        if not any(len(holder.pieces) for holder in self.holders):
            return []
        now, told = time.monotonic(), []
        for tier in self._jobs.tiers():
            missing = int(tier.capacity * MARGIN) - tier.free
            since = self._short.setdefault(tier.name, now) if missing > 0 else self._short.pop(tier.name, now)
            if missing > 0:
                told += self._shortage(tier.name, missing, now, since)
        return told

    def _shortage(self, tier: TierName, missing: int, now: float, since: float) -> list[tuple[Holder, TierName, int]]:
        """Those with most on the tier first: told when the shortage begins, taken from when it lasts."""
        told = []
        for holder in sorted(self.holders, key=lambda holder: -holder.pieces.tiers().get(tier, 0)):
            held = holder.pieces.tiers().get(tier, 0)
            if not held or missing <= 0:
                break
            if holder.warned.get(tier, 0.0) < since:
                holder.warned[tier] = now
                told.append((holder, tier, min(missing, held)))
            elif now - since >= NOTICE:
                holder.pieces.take_back(tier, missing)
                self._tell_plan(holder.job_id)
            missing -= held
        return told


def _sum(each: Iterable[Mapping[TierName, int]]) -> dict[TierName, int]:
    total: dict[TierName, int] = {}
    for tiers in each:
        for tier, size in tiers.items():
            total[tier] = total.get(tier, 0) + size
    return total

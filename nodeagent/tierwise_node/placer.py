"""Moves a job's pages to where its plan says, within a limit of bytes per second, each move verified.

A page is moved only if its process sits in a cgroup of that job and belongs to the job's user; a process that is not
dumpable belongs to root in /proc and is left alone.
"""

from __future__ import annotations

import logging
import mmap
import os
import select
import time
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tierwise.plans import Moves
from tierwise.tiers import TierName
from tierwise_node import pages
from tierwise_node.cgroups import Cgroups, JobCgroup
from tierwise_node.memory.kept import Extent, without
from tierwise_node.tiers import Topology
from tierwise_policy.placement import Correction

if TYPE_CHECKING:
    from tierwise_policy.heat import Ranges

log = logging.getLogger(__name__)
T = TypeVar("T")
LONGEST = 1.0
"""Seconds after which one call begins no further process."""
MOST_RANGES = 65536


@dataclass
class _Place:
    """Where the next move of a job goes on: so that a large process is not walked from its beginning each time."""

    pid: int = 0
    cursor: int = 0


class Placer:
    """Carries corrections out. Used by one thread at a time."""

    def __init__(self, topology: Topology, cgroups: Cgroups) -> None:
        self._topology, self._cgroups = topology, cgroups
        self._places: dict[tuple[int, str], _Place] = {}
        self.kept: Callable[[int], Sequence[Extent]] = lambda _pid: ()
        """The ranges of a process that stay where they are, ascending: what its program was granted."""

    def correct(self, job: JobCgroup, uid: int, correction: Correction) -> Moves:
        """Move at most `correction.size` bytes of a job; what became of them."""
        sources = self._topology.nodes([correction.source])
        targets = self._topology.roomiest(correction.target)
        left = correction.size
        place = self._places.setdefault((job.job_id, correction.source), _Place())
        total = Moves()
        until = time.monotonic() + LONGEST
        for pid in _from(place.pid, job.pids()):
            if time.monotonic() > until:
                place.pid, place.cursor = pid, 0  # of a job with very many processes; the next call begins here
                break
            cursor = place.cursor if pid == place.pid else 0
            moved = self._move(job.job_id, uid, pid, sources, targets, left, cursor)
            if moved is None:
                continue
            total += moved.moves
            left -= moved.moves.landed * mmap.PAGESIZE
            place.pid, place.cursor = pid, moved.cursor
            if moved.cursor or left < mmap.PAGESIZE:
                break  # the limit ended it there
        else:
            place.pid = place.cursor = 0
        return total

    def move_ranges(
        self, job_id: int, uid: int, pid: int, ranges: Ranges, source: TierName, target: TierName, limit: int
    ) -> pages.Moved | None:
        """Move at most `limit` bytes within ranges of one process; None when it is not the job's, or has ended."""
        sources, targets = self._topology.nodes([source]), self._topology.roomiest(target)
        starts, ends = ranges["start"], ranges["end"]
        return self._checked(
            job_id,
            uid,
            pid,
            lambda: pages.move_ranges(pid, starts, ends, sources, targets, limit, family=pages.only_kin_share(pid)),
        )

    def page_out(
        self, job_id: int, uid: int, pid: int, ranges: Ranges, source: TierName, limit: int
    ) -> pages.Moved | None:
        """Page out at most `limit` bytes within ranges of one process from a tier, which keeps what they are compressed
        to; None when it is not the job's, or has ended."""
        sources = self._topology.nodes([source])
        starts, ends = ranges["start"], ranges["end"]
        return self._checked(job_id, uid, pid, lambda: pages.page_out(pid, starts, ends, sources, limit))

    def locate(self, job_id: int, uid: int, pid: int, ranges: Ranges) -> pages.Bytes | None:
        """Bytes of ranges of one process by NUMA node; None when it is not the job's, or has ended."""
        return self._checked(job_id, uid, pid, lambda: pages.locate(pid, ranges["start"], ranges["end"]))

    def keep_only(self, jobs: Container[int]) -> None:
        """Forget the jobs that have ended."""
        for key in [key for key in self._places if key[0] not in jobs]:
            del self._places[key]

    def _move(
        self,
        job_id: int,
        uid: int,
        pid: int,
        sources: tuple[int, ...],
        targets: tuple[int, ...],
        limit: int,
        cursor: int,
    ) -> pages.Moved | None:
        return self._checked(
            job_id,
            uid,
            pid,
            lambda: self._move_rest(pid, sources, targets, limit, cursor),
        )

    def _move_rest(
        self, pid: int, sources: tuple[int, ...], targets: tuple[int, ...], limit: int, cursor: int
    ) -> pages.Moved:
        """Move pages of a process, but for what it was granted."""
        kin, kept = pages.only_kin_share(pid), self.kept(pid)
        movable = pages.movable(pid, MOST_RANGES) if kept else None
        if movable is None:
            return pages.move(pid, sources, targets, limit, cursor, family=kin)
        import numpy as np  # noqa: PLC0415

        from tierwise_policy.heat import RANGE  # noqa: PLC0415

        ranges = np.zeros(len(movable[0]), RANGE)
        ranges["start"], ranges["end"] = np.maximum(movable[0], np.uint64(cursor)), movable[1]
        rest = without(ranges[ranges["start"] < ranges["end"]], kept)
        return pages.move_ranges(pid, rest["start"], rest["end"], sources, targets, limit, family=kin)

    def _checked(self, job_id: int, uid: int, pid: int, work: Callable[[], T]) -> T | None:
        """Do `work` on one process, if it is the job's. The pidfd, opened before the checks, tells afterwards that it
        still lives: so it was this process all the time, and no other with a reused pid.
        """
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        try:
            if self._cgroups.job_of(pid) != job_id or Path(f"/proc/{pid}").stat().st_uid != uid:
                return None
            done = work()
            if _has_ended(pidfd):
                raise ProcessLookupError
            return done
        except ProcessLookupError:
            log.info("job %d: process %d ended while its pages were looked at", job_id, pid)
            return None
        except OSError as error:
            log.info("job %d: %s", job_id, error)
            return None
        finally:
            os.close(pidfd)


def _has_ended(pidfd: int) -> bool:
    """pidfd_open(2): readable once the process has ended. A signal 0 would need CAP_KILL for other users' processes."""
    watch = select.poll()
    watch.register(pidfd, select.POLLIN)
    return bool(watch.poll(0))


def _from(first: int, pids: Iterable[int]) -> list[int]:
    """The pids in their order, beginning with `first` where it is among them."""
    ordered = sorted(set(pids))
    at = ordered.index(first) if first in ordered else 0
    return ordered[at:] + ordered[:at]

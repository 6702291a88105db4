"""The tier below the last: a zram that our own paging out fills, and nobody else's.

What the kernel's reclaim swaps out would be compressed into memory of whatever node its thread runs on, DRAM mostly,
and it would be the kernel's choice. So the jobs may not swap at all (memory.swap.max of the cgroup that all of them are
in, cgroup v2), but for the moments in which we page out. Processes that are no job's the kernel may swap out there, as
on any host with swap.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tierwise.messages import Mechanism
from tierwise.tiers import TierName
from tierwise.units import MIB, format_size
from tierwise_node.cgroups import Cgroups
from tierwise_node.pages import Moved
from tierwise_node.placer import Placer
from tierwise_node.tiers import Topology
from tierwise_node.zram import Zram

if TYPE_CHECKING:
    from tierwise_policy.heat import Ranges, Window

log = logging.getLogger(__name__)
NAME = "zram"
"""What is below the last tier in events."""
CLOSED = "0"
TRIED, WORTH = 16 * MIB, 0.75
"""After so many bytes nothing more goes there if what is there takes more than this part of its size: it can't be
compressed, and paging it out frees nothing."""


class Below:
    """Used by one thread at a time. `state`: the agent's folder; `size`: bytes that the zram may hold, 0: none."""

    def __init__(self, state: Path, size: int, topology: Topology, cgroups: Cgroups, placer: Placer) -> None:
        tiers = len(topology.order)
        fit = cgroups.version == 2 and tiers > 1
        self._zram = Zram(state / "zram.json", size if fit else 0)
        self._file = cgroups.root / "memory.swap.max"
        self._placer = placer
        self._wanted = size > 0
        self._unfit = (
            "" if fit else "no slower tier" if tiers < 2 else "cgroup v1 can't keep the kernel's own reclaim off it"
        )

    def take(self) -> None:
        """Set it up; what an agent before left is gone on with, or taken away."""
        limit = self._zram.limit
        self._zram.take()
        if not self._zram.on:
            self._restore(limit)
        elif not self._zram.limit:  # a new one in the place of one that has gone
            self._zram.limit = limit
        self.keep()

    def give_back(self) -> None:
        """Take it away, and give the jobs' cgroup its limit back."""
        limit = self._zram.limit
        if self._zram.give_back():
            self._restore(limit)

    def keep(self) -> None:
        """See to it that the kernel swaps none of the jobs' memory: their cgroup may be a new one."""
        if not self._zram.on:
            return
        now = self._limit()
        if now and (now != CLOSED or not self._zram.limit):
            self._zram.limit = now
            self._write(CLOSED)

    @property
    def room(self) -> int:
        """Bytes that may be paged out now."""
        if not self._zram.on or self._zram.limit in ("", CLOSED):
            return 0
        there = self._zram.held()
        in_vain = there.held > TRIED and there.takes > there.held * WORTH
        return 0 if in_vain else max(min(there.size, self._zram.size) - there.held, 0)

    def page_out(self, job_id: int, uid: int, pid: int, ranges: Ranges, source: TierName, limit: int) -> Moved | None:
        """See Placer.page_out. Only meanwhile anything of a job can be swapped out."""
        self._write(self._zram.limit)
        try:
            return self._placer.page_out(job_id, uid, pid, ranges, source, limit)
        finally:
            self._write(CLOSED)

    def mechanism(self) -> Mechanism:
        """The doctor's row."""
        if not self._wanted and not self._zram.on:
            return Mechanism(NAME, "off", "agent.below_last is 0: no cold memory is paged out")
        if problem := self._unfit or self._zram.problem:
            advice = "modprobe zram; lasting: a line in /etc/modules-load.d" if "module" in problem else ""
            return Mechanism(NAME, "missing", f"no cold memory is paged out: {problem}", advice)
        if self._zram.limit == CLOSED:
            return Mechanism(NAME, "missing", f"{self._file} was 0 before we came: jobs may not swap")
        there, jobs = self._zram.held(), self._swapped()
        return Mechanism(
            NAME, "used",
            f"holds {format_size(jobs)} of cold memory of jobs and {format_size(max(there.held - jobs, 0))} of others',"
            f" in {format_size(there.takes)}; up to {format_size(there.size)}",
        )  # fmt: skip

    def _restore(self, limit: str) -> None:
        if limit and self._limit() == CLOSED:
            self._write(limit)

    def _limit(self) -> str:
        """Empty: there is no such cgroup, so no job."""
        try:
            return self._file.read_text().strip()
        except OSError:
            return ""

    def _swapped(self) -> int:
        try:
            return int(self._file.with_name("memory.swap.current").read_text())
        except (OSError, ValueError):
            return 0

    def _write(self, limit: str) -> None:
        try:
            self._file.write_text(limit)
        except OSError as error:
            log.error("could not write %s to %s: %s", limit, self._file, error.strerror)


def is_told_of_reads(window: Window | None) -> bool:
    """Whether a window's tracker sees reads: to one that sees writes only, memory in use may seem cold."""
    return window is not None and window.tracker == "damon"

"""Huge pages for a new job: where its plan wants more than a tier has of them, though enough is free, it is compacted.

The kernel does that too, but only when an allocation finds none, at that program's cost, and it soon gives up; and
a huge page that moves to a slower tier needs a free one there. So it is done when a job is planned, on the nodes of its
plan (Documentation/ABI/stable/sysfs-devices-node, `compact`), and what it brought is counted in free huge pages.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterable
from pathlib import Path

from tierwise.tiers import TierName
from tierwise.units import MIB, format_size
from tierwise_node.jobs import Jobs
from tierwise_node.record import JobRecord
from tierwise_node.tiers import Topology

log = logging.getLogger(__name__)
SYS, PROC = Path("/sys"), Path("/proc")
LOOK = 1.0
"""Seconds between two looks for new plans."""
SMALLEST = 64 * MIB
"""Bytes of a plan on a tier below which it is not worth it."""
FEW = 0.5
"""Few huge pages are free when they hold less than this part of what the plan wants."""
PAUSE = 60.0
"""Seconds for which a node is left alone after it was compacted: that costs a walk of all its memory."""


class Compaction:
    """Runs as a task of the agent."""

    def __init__(self, jobs: Jobs, topology: Topology) -> None:
        self._jobs, self._topology = jobs, topology
        self._seen: set[int] = set()
        self._next: dict[TierName, float] = {}

    async def run(self) -> None:
        """Look at each job's first plan until cancelled; a failure is logged, and the next one comes."""
        while wanted():
            planned = {job_id for job_id, record in self._jobs.records.items() if record.plan is not None}
            new, self._seen = planned - self._seen, planned
            for record in [self._jobs.records[job_id] for job_id in new]:
                try:
                    await self._prepare(record)
                except OSError as error:
                    log.warning("job %d: no huge pages were made for it: %s", record.key.job_id, error)
            await asyncio.sleep(LOOK)

    async def _prepare(self, record: JobRecord) -> None:
        for tier, planned in record.plan.tiers.items() if record.plan else ():
            nodes = self._topology.nodes([tier])
            size, before = min(planned - record.found.get(tier, 0), free(nodes)), huge(nodes)
            if size < SMALLEST or before >= size * FEW or time.monotonic() < self._next.get(tier, 0.0):
                continue
            await asyncio.to_thread(compact, nodes)
            self._next[tier] = time.monotonic() + PAUSE
            why = f"{format_size(huge(nodes))} free in huge pages on {tier}, {format_size(before)} before: "
            self._jobs.events.tell("compacted", record.key.job_id, f"{why}its plan has {format_size(planned)} there")


def wanted(sysfs: Path = SYS) -> bool:
    """Whether programs get huge pages here at all (Documentation/admin-guide/mm/transhuge.rst)."""
    try:
        return "[never]" not in (sysfs / "kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


def free(nodes: Iterable[int], sysfs: Path = SYS) -> int:
    """Free bytes of some nodes."""
    texts = [(sysfs / f"devices/system/node/node{node}/meminfo").read_text() for node in nodes]
    return sum(int(kib) << 10 for text in texts for kib in re.findall(r"MemFree: +(\d+) kB", text))


def huge(nodes: Iterable[int], sysfs: Path = SYS, proc: Path = PROC) -> int:
    """Bytes of some nodes' free memory that lie in free huge pages (/proc/buddyinfo: free blocks by order)."""
    size = int((sysfs / "kernel/mm/transparent_hugepage/hpage_pmd_size").read_text())
    rows = re.findall(r"^Node +(\d+), zone +\w+ +([\d ]+)$", (proc / "buddyinfo").read_text(), re.M)
    chosen = set(nodes)
    blocks = [(4096 << order, int(count)) for node, counts in rows if int(node) in chosen
              for order, count in enumerate(counts.split())]  # fmt: skip
    return sum(block * count for block, count in blocks if block >= size)


def compact(nodes: Iterable[int], sysfs: Path = SYS) -> None:
    """Compact some nodes; returns when the kernel is done."""
    for node in nodes:
        (sysfs / f"devices/system/node/node{node}/compact").write_text("1")

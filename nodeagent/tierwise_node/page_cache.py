"""Page cache makes room for what starting jobs asked for.

Our own moves reach the anonymous and shared memory of jobs. Page cache on a fast tier, much of it libraries that were
read in and are not used again, is the kernel's: left alone it gives way only once the tier is full, while the first
pages of a job that starts already go to a slower one. So it is sent down before, the least used first: by the kernel's
own reclaim of one NUMA node, with swappiness 0 for page cache only, which moves it to a slower tier where the kernel
demotes. That needs a file that Linux has since 6.17 (Documentation/ABI/stable/sysfs-devices-node); without it, nothing
happens here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tierwise.messages import Mechanism
from tierwise_node.numa import NumaNodes, kernel_demotes
from tierwise_node.record import SECOND, JobRecord
from tierwise_node.tiers import Topology

log = logging.getLogger(__name__)
SYS = Path("/sys")
STARTING = 60.0
"""Seconds from a job's start for which room for what it asked for and does not use yet is kept empty."""
LEAST = 1 << 20
"""Bytes that are not worth a call."""
IN_VAIN = 0.1
"""The part of the time that calls may take which find next to nothing: less than one part in FINDS of what was asked.
The kernel looks everywhere many times before it says so."""
FINDS = 8


class PageCache:
    """Looks once in `interval` seconds, and sends at most `rate` bytes per second down. `records`: the jobs here."""

    def __init__(
        self,
        records: Mapping[int, JobRecord],
        topology: Topology,
        numa: NumaNodes,
        interval: float,
        rate: int,
        sysfs: Path = SYS,
    ) -> None:
        self._records, self._topology, self._numa = records, topology, numa
        self._interval, self._rate, self._sysfs = interval, rate, sysfs
        self._again: dict[int, float] = {}
        """When a node where too little was found may be asked again (monotonic seconds)."""

    async def run(self) -> None:
        """Look until cancelled. No failure ends it: it is logged, and the next look comes."""
        while True:
            try:
                await asyncio.to_thread(self.look, time.time_ns())
            except Exception:
                log.exception("page cache could not be asked to make room")
            await asyncio.sleep(self._interval)

    def look(self, now: int) -> None:
        """Have page cache make what room it can on each tier but the slowest. `now`: ns since the epoch."""
        records = list(self._records.values())
        wanted = awaited(records, now)
        if not wanted or not kernel_demotes(self._sysfs):  # most of the time no job is starting
            return
        for name in self._topology.order[:-1]:  # what leaves one is among what the next sends on
            nodes = self._topology.nodes([name])
            lacks = wanted - sum(self._numa.empty(node) for node in nodes)
            for node in nodes:
                self._send_down(node, min(lacks // len(nodes), int(self._rate * self._interval)))

    def _send_down(self, node: int, size: int) -> None:
        """Ask the kernel for `size` bytes."""
        if size < LEAST or time.monotonic() < self._again.get(node, 0.0):
            return
        size = min(size, self._numa.page_cache(node))
        if size < LEAST:
            return
        begun, before = time.monotonic(), self._numa.empty(node)
        try:
            _reclaim(self._sysfs, node).write_text(f"{size} swappiness=0")
        except OSError:  # less than that was found; or no such file in this kernel
            if self._numa.empty(node) - before < size // FINDS:
                self._again[node] = time.monotonic() + (time.monotonic() - begun) / IN_VAIN


def awaited(records: Iterable[JobRecord], now: int) -> int:
    """Bytes that starting jobs asked for and don't use yet, but for CAP. On which tier they were promised doesn't
    matter: memory that waits on a slower tier than its class's may use idle room (lending)."""
    return sum(
        max(sum(part.size for part in record.plan.parts if part.memory_class != "CAP") - sum(record.found.values()), 0)
        for record in records
        if record.plan is not None and now - record.started < STARTING * SECOND
    )


def mechanism(topology: Topology) -> Mechanism:
    """The doctor's row."""
    name = "node reclaim"
    if len(topology.order) < 2:
        return Mechanism(name, "off", "no slower tier")
    nodes = topology.nodes(topology.order[:-1])
    if not all(os.access(_reclaim(SYS, node), os.W_OK) for node in nodes):
        return Mechanism(name, "missing", "page cache makes no room for starting jobs (the kernel is before 6.17)")
    if not kernel_demotes():
        return Mechanism(
            name, "off", "page cache makes no room for starting jobs: the kernel doesn't demote it, it would be lost"
        )
    return Mechanism(name, "used", "page cache makes room for what starting jobs asked for")


def _reclaim(sysfs: Path, node: int) -> Path:
    return sysfs / f"devices/system/node/node{node}/reclaim"

"""The agent's beat: sample every job, see whether its bytes are where its plan says, and move what is not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tierwise.tiers import Tier, TierName
from tierwise_node.cgroups import V2Job
from tierwise_node.jobs import Jobs
from tierwise_node.pins import HardPins
from tierwise_node.placer import Placer
from tierwise_node.pressure import Pressure
from tierwise_node.record import KNOWN_AFTER, JobRecord
from tierwise_node.tiers import Topology
from tierwise_policy.margin import margin
from tierwise_policy.placement import agrees, corrections

if TYPE_CHECKING:
    from tierwise_node.below import Below
    from tierwise_node.mover import Mover
    from tierwise_policy.heat import Window

log = logging.getLogger(__name__)
PRESSED = 10.0
"""Seconds for which more is kept free after the kernel has told of pressure."""
MOST_BEATS = 4
"""A beat that comes late may move what those before it did not, but no more than for so many."""
CLOSEST = 0.25
"""Seconds between two beats at least, whatever wakes the agent."""


class Watch:
    """Beats once per `interval` seconds, and at once under pressure; moves at most `rate` bytes per second each way.

    `share` is the part of each tier that is kept free; `pins` are kept where cgroups are v2. `windows` is asked for the
    newest heat of each job.
    """

    def __init__(
        self,
        jobs: Jobs,
        topology: Topology,
        placer: Placer,
        interval: float,
        rate: int,
        share: float = 0.01,
        pins: HardPins | None = None,
    ) -> None:
        self._jobs, self._topology, self._placer = jobs, topology, placer
        self._interval, self._rate, self._share = interval, rate, share
        self._pins = pins
        self.windows: Callable[[], Mapping[int, Window]] = dict
        self.observed: Callable[[], None] = lambda: None
        """Called when the jobs have been sampled."""
        self.below: Below | None = None
        self._mover: Mover | None = None
        self._wake = asyncio.Event()
        self._pressed_until = 0.0
        self._before: tuple[float, dict[TierName, int]] = (0.0, {})
        self._taken: dict[TierName, float] = {}
        self._since_last = interval
        jobs.wake = self._wake.set

    async def run(self) -> None:
        """Beat until cancelled. No failure of one beat ends it: it is logged, and the next one comes."""
        pressure = Pressure(self._press)
        try:
            if self.below is not None:
                await asyncio.to_thread(self.below.take)
            while True:
                begun = time.monotonic()
                self._wake.clear()
                try:
                    await self._beat(begun)
                except Exception:
                    log.exception("a beat failed")
                await asyncio.sleep(min(CLOSEST, self._interval))
                with contextlib.suppress(TimeoutError):
                    left = self._interval - (time.monotonic() - begun)
                    await asyncio.wait_for(self._wake.wait(), max(left, 0.001))
        finally:
            pressure.stop()
            if self._pins is not None:
                self._pins.stop()

    async def _beat(self, begun: float) -> None:
        self._jobs.observe()
        self.observed()
        self._jobs.plans.revise()
        for record in self._jobs.records.values():
            self._compare(record)
        if len(self._topology.order) < 2:
            return
        tiers = self._jobs.tiers()
        if self._pins is not None:
            folders = {job_id: group.folder for job_id, group in self._jobs.groups.items() if isinstance(group, V2Job)}
            self._pins.keep(folders, self._jobs.records.values(), self._jobs.usages, tiers[0].capacity)
        if self.below is not None:
            self.below.keep()
        if not self._jobs.records:
            return
        if self._mover is None:
            from tierwise_node.mover import Mover  # noqa: PLC0415  numpy: an agent without jobs goes without

            self._mover = Mover(self._jobs, self._topology, self._placer, self._jobs.events, self._rate, self.below)
        margins = self._margins(tiers, begun)
        await self._mover.beat(self.windows(), tiers, margins, self._since_last, begun + self._interval)

    def _compare(self, record: JobRecord) -> None:
        """Count whether a job agrees with its plan, once the excess has had its time to move."""
        if record.plan is None or record.key.job_id not in self._jobs.usages:
            return
        order = self._topology.order
        excess = sum(each.size for each in corrections(record.plan, record.own, order))
        waits = KNOWN_AFTER if record.is_young(record.seen) else 0.0
        record.compare(record.seen, agrees(record.plan, record.own, order), excess / self._rate + waits)

    def _margins(self, tiers: Sequence[Tier], now: float) -> dict[TierName, int]:
        """What is to be kept free on each tier, by what it lost since the last beat (a mean that forgets)."""
        then, free = self._before
        self._since_last = min(max(now - then, CLOSEST), MOST_BEATS * self._interval)
        seconds = max(now - then, self._interval)
        for tier in tiers:
            lost = max(free.get(tier.name, tier.free) - tier.free, 0) / seconds
            self._taken[tier.name] = max(lost, self._taken.get(tier.name, 0.0) * 0.9)
        self._before = (now, {tier.name: tier.free for tier in tiers})
        return {tier.name: self._margin(tier, now < self._pressed_until) for tier in tiers}

    def _margin(self, tier: Tier, pressed: bool) -> int:
        watermarks = self._topology.watermarks(tier.name)
        return margin(tier.capacity, self._share, watermarks, self._taken[tier.name], pressed)

    def _press(self) -> None:
        """The kernel says that tasks wait for memory."""
        if time.monotonic() >= self._pressed_until:
            self._jobs.events.tell("pressure", why="tasks waited for memory: more is kept free for a while")
        self._pressed_until = time.monotonic() + PRESSED
        self._wake.set()


def tier_rate(configured: int, bandwidths: dict[TierName, int]) -> int:
    """Bytes per second that may be moved: agent.move_limit, or a tenth of the slowest tier's bandwidth."""
    return configured or max(min(bandwidths.values()) // 10, 1)

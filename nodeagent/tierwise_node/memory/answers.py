"""The agent's answers about memory: a process opens its session, people look at regions and drop them."""

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from tierwise.errors import ProtocolError, RefusedError
from tierwise.lines import number
from tierwise.messages import RegionView
from tierwise_node.cgroups import Cgroups
from tierwise_node.jobs import Jobs
from tierwise_node.memory.granting import Granting
from tierwise_node.memory.regions import Region, Regions
from tierwise_node.memory.session import Session, tell
from tierwise_node.server import Handover, Peer, Reply
from tierwise_node.tiers import Topology

log = logging.getLogger(__name__)


class MemoryAnswers:
    """All that begins with `memory_`. Lives as long as the agent: sessions go on through a reload."""

    def __init__(self) -> None:
        self.granting = Granting(Regions())
        self._topology: Topology

    def use(self, jobs: Jobs, cgroups: Cgroups, topology: Topology, share: float, retain: str) -> None:
        """What holds from now on. `share` of all tiers is what the regions of one user may take."""
        self._topology = topology
        self.granting.use(jobs, cgroups, topology)
        self.granting.regions.use(int(sum(tier.capacity for tier in topology.tiers()) * share), retain)

    def find_again(self, cgroups: Cgroups) -> None:
        """After an absence: take over the regions that jobs hold."""
        self.granting.regions.find_again(pid for job in cgroups.jobs().values() for pid in job.pids())

    async def run(self, interval: float) -> None:
        """Look at regions and tiers once per `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                for holder, tier, size in self.granting.beat():
                    tell(holder, tier, size)
            except Exception:
                log.exception("a look at granted memory failed")

    async def __call__(self, peer: Peer, fields: Mapping[str, str]) -> Reply | Handover:
        """The answer to one message. Raises ProtocolError."""
        operation = fields.get("op")
        try:
            if operation == "memory_session":
                return Handover(Session(self.granting, self.granting.begin(peer), lambda: self._topology).serve)
            if operation == "memory_regions":
                views = [self._view(region) for region in self.granting.regions if peer.uid in (0, region.uid)]
                return {"status": "ok", "json": msgspec.json.encode(views).decode()}
            if operation == "memory_drop":
                return self._drop(peer, number(fields, "uid", peer.uid), fields.get("name", ""))
        except RefusedError as refused:
            return {"status": "refused", "reason": str(refused)}
        raise ProtocolError(f"{operation} is for processes that have opened a session (memory_session)")

    def _drop(self, peer: Peer, uid: int, name: str) -> Reply:
        if peer.uid not in (0, uid):
            return {"status": "refused", "reason": f"uid {peer.uid} may not drop a region of uid {uid}"}
        self.granting.regions.drop(self.granting.regions.get(uid, name))
        self.granting.end_regions()
        return {"status": "ok"}

    def _view(self, region: Region) -> RegionView:
        holders = tuple(holder.peer.pid for holder in self.granting.holders if region in holder.regions.values())
        return RegionView(
            uid=region.uid,
            name=region.name,
            size=region.size,
            hint=region.hint,
            tiers=region.tiers,
            holders=holders[:64],
            held=region.is_held(),
            retained=region.retained,
            dropped=region.dropped,
        )

"""One process's connection to the agent, kept for as long as the process lives: its requests, and their answers."""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping

from tierwise.errors import ProtocolError, RefusedError
from tierwise.lines import decode, encode, number
from tierwise_node.memory.granting import MOST_PIECES, MOST_PIECES_PER_USER, Granting, Holder
from tierwise_node.memory.pieces import Piece
from tierwise_node.memory.regions import Region, RegionRefusedError
from tierwise_node.server import Connection, Reply
from tierwise_node.tiers import Topology
from tierwise_policy.grants import Grant

log = logging.getLogger(__name__)
HIGHEST = 1 << 57
"""Addresses of user space end below (five-level page tables)."""


class Session:
    """Serves one holder. A descriptor that an answer brings along is closed here once it is sent."""

    def __init__(self, granting: Granting, holder: Holder, topology: Callable[[], Topology]) -> None:
        self._granting, self._holder, self._topology = granting, holder, topology
        self._descriptor = -1
        self._operations = {
            "memory_alloc": self._alloc,
            "memory_free": self._free,
            "memory_move": self._move,
            "memory_open": self._open,
            "memory_grow": self._grow,
            "memory_close": self._close,
            "memory_drop": self._drop,
            "memory_events": self._events,
        }

    async def serve(self, connection: Connection) -> None:
        """Answer until the process has gone."""
        try:
            await connection.send(self._greeting())
            while message := await connection.next_message(idle=True):
                await self._send(connection, self.answer(message))
        finally:
            if self._holder.events >= 0:
                os.close(self._holder.events)
            self._granting.end(self._holder)

    def _greeting(self) -> Reply:
        """The first answer: the job, and which NUMA nodes each tier has, fastest first."""
        topology = self._topology()
        tiers = ",".join(f"{name}:{_nodes(topology, name)}" for name in topology.order)
        return {"status": "ok", "job_id": self._holder.job_id, "tiers": tiers}

    def answer(self, message: bytes) -> Reply:
        """The answer to one message."""
        try:
            fields = decode(message)
            operation = self._operations.get(fields.get("op", ""))
            if operation is None:
                raise ProtocolError(f"op must be one of {', '.join(self._operations)}")
            return operation(fields)
        except RegionRefusedError as refused:
            return {"status": "refused", "error": refused.error, "reason": str(refused)}
        except RefusedError as refused:
            return {"status": "refused", "reason": str(refused)}
        except ProtocolError as error:
            return {"status": "error", "reason": str(error)}
        except Exception:
            log.exception("a request of pid %d (uid %d) failed", self._holder.peer.pid, self._holder.peer.uid)
            return {"status": "error", "reason": "the agent failed at this request: its log says why"}

    async def _send(self, connection: Connection, reply: Reply) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            await connection.send(reply)
            return
        try:
            connection.send_descriptor(reply, descriptor)
        finally:
            os.close(descriptor)

    # --- ranges ------------------------------------------------------------------------------------------------------

    def _alloc(self, fields: Mapping[str, str]) -> Reply:
        start, end = _range(fields)
        pieces = self._holder.pieces
        if self._has_too_many():
            raise RefusedError(f"{len(pieces)} ranges of one process were granted: ask for larger ones")
        replaced = pieces.cut(start, end)
        try:
            given = self._granting.ask(self._holder, fields.get("hint", ""), end - start)
        except RefusedError:
            if replaced:
                pieces.add(*replaced)
            raise
        if new := _pieces(start, end, given):
            pieces.add(*new)
        self._granting.tell_plan(self._holder)
        return self._as_reply(given)

    def _free(self, fields: Mapping[str, str]) -> Reply:
        start, end = _range(fields)
        self._let_go(start, end)
        return {"status": "ok"}

    def _move(self, fields: Mapping[str, str]) -> Reply:
        start, end = _range(fields)
        to = _address(fields, "to", end - start)
        if self._has_too_many():
            self._let_go(start, end)
        else:
            self._holder.pieces.move(start, end, to)
        return {"status": "ok"}

    def _has_too_many(self) -> bool:
        """Whether this process, or all of its user's together, have as many ranges as we remember."""
        own, uid = len(self._holder.pieces), self._holder.peer.uid
        return own >= MOST_PIECES or self._granting.pieces_of(uid) >= MOST_PIECES_PER_USER

    def _let_go(self, start: int, end: int) -> None:
        """Nobody keeps [start, end) any more. Of very many ranges none is cut in two: what is around goes, too."""
        pieces = self._holder.pieces
        pieces.cut(*(pieces.around(start, end) if self._has_too_many() else (start, end)))
        self._granting.tell_plan(self._holder)

    def _as_reply(self, given: Grant) -> Reply:
        topology = self._topology()
        parts = ",".join(f"{tier}:{size}:{_nodes(topology, tier)}" for tier, size in given.parts)
        return {
            "status": "ok",
            "mode": "spread" if given.spread else "fill",
            "parts": parts,
            "balanced": int(given.balanced and given.parts[0][0] == topology.order[0]),
            "degraded": given.degraded,
        }

    # --- regions -----------------------------------------------------------------------------------------------------

    def _open(self, fields: Mapping[str, str]) -> Reply:
        name, size, uid = fields.get("name", ""), number(fields, "size", 0), self._holder.peer.uid
        created = False
        try:
            region = self._granting.regions.get(uid, name)
        except RegionRefusedError as refused:
            if refused.error != "absent" or fields.get("create") != "1":
                raise
            region, created = self._create(name, size, fields), True
        if not created and fields.get("create") == fields.get("exclusive") == "1":
            raise RegionRefusedError("exists", f"region {name} is there already")
        self._enlarge(region, size)
        self._holder.regions[name] = region
        self._granting.tell_plan(self._holder)
        self._descriptor = region.descriptor()
        return {"created": int(created), "size": region.size, **self._placed(region)}

    def _create(self, name: str, size: int, fields: Mapping[str, str]) -> Region:
        hint, retain = fields.get("hint", ""), fields.get("retain") == "1"
        if retain and "pmem" in self._topology().order:
            hint = "tier:pmem"
        given = self._granting.ask(self._holder, hint, size, f"region {name[:64]}") if hint else Grant(())
        holder = self._holder
        region = self._granting.regions.create(holder.peer.uid, name, size, hint, holder.job_id, retain)
        region.tiers = dict(given.parts)
        return region

    def _enlarge(self, region: Region, size: int) -> None:
        if size > region.size and region.hint:
            given = self._granting.ask(self._holder, region.hint, size - region.size, f"region {region.name}")
            self._granting.regions.grow(region, size)
            for tier, more in given.parts:
                region.tiers[tier] = region.tiers.get(tier, 0) + more
        else:
            self._granting.regions.grow(region, size)

    def _placed(self, region: Region) -> Reply:
        """The policy of all of a region: a file has one, whoever maps it."""
        if not region.hint:
            return {"status": "ok"}
        spread = "BW" in region.hint
        parts = tuple(region.tiers.items())
        short = region.size - sum(region.tiers.values())
        return self._as_reply(Grant(parts, spread, short, "" if parts else "nobody remembers where it was granted"))

    def _grow(self, fields: Mapping[str, str]) -> Reply:
        region = self._held(fields)
        self._enlarge(region, number(fields, "size"))
        self._descriptor = region.descriptor()
        return {"created": 0, "size": region.size, **self._placed(region)}

    def _close(self, fields: Mapping[str, str]) -> Reply:
        self._holder.regions.pop(fields.get("name", ""), None)
        self._granting.tell_plan(self._holder)
        self._granting.end_regions()
        return {"status": "ok"}

    def _drop(self, fields: Mapping[str, str]) -> Reply:
        regions = self._granting.regions
        regions.drop(regions.get(self._holder.peer.uid, fields.get("name", "")))
        self._granting.end_regions()
        return {"status": "ok"}

    def _held(self, fields: Mapping[str, str]) -> Region:
        name = fields.get("name", "")
        return self._holder.regions.get(name) or self._granting.regions.get(self._holder.peer.uid, name)

    # --- events ------------------------------------------------------------------------------------------------------

    def _events(self, _fields: Mapping[str, str]) -> Reply:
        if self._holder.events >= 0:
            os.close(self._holder.events)
        # O_DIRECT: a packet for each message (pipe(7)).
        self._descriptor, self._holder.events = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC | os.O_DIRECT)
        return {"status": "ok"}


def tell(holder: Holder, tier: str, size: int) -> None:
    """Write an event. A process that doesn't read them misses those that no longer fit into the pipe."""
    if holder.events >= 0:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(holder.events, encode({"event": "taking_back", "tier": tier, "bytes": size}))


def _pieces(start: int, end: int, given: Grant) -> list[Piece]:
    """A grant as ranges: a spread one is one, else each part lies behind the one before it, the last to the end."""
    if given.spread:
        return [Piece(start, end, given.parts)]
    pieces = []
    for place, (tier, size) in enumerate(given.parts):
        part_end = end if place == len(given.parts) - 1 else min(start + size, end)
        pieces.append(Piece(start, part_end, ((tier, size),)))
        start = part_end
    return pieces


def _range(fields: Mapping[str, str]) -> tuple[int, int]:
    """Raises ProtocolError."""
    size = number(fields, "size")
    if size == 0:
        raise ProtocolError("size must be more than 0")
    start = _address(fields, "at", size)
    return start, start + size


def _address(fields: Mapping[str, str], key: str, size: int) -> int:
    address = number(fields, key)
    if address + size > HIGHEST:
        raise ProtocolError(f"no process has {size} bytes at {key}={address}")
    return address


def _nodes(topology: Topology, tier: str) -> str:
    return "/".join(map(str, topology.nodes([tier])))

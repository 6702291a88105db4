"""What agents measure: taken, checked, written down; the newest of each node in memory, wherever it was reported.

A measurement is acknowledged once it is committed. Several services may share one database: each reads what the others
have written every few seconds.
"""

import asyncio
import bisect
import contextlib
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from tierwise.errors import ProtocolError, RefusedError, UnavailableError
from tierwise.telemetry import Hardware, Measurement, NodeEvent, NodeLoad, StageAhead, TelemetryAnswer, TelemetryBatch
from tierwise.units import format_size
from tierwise_decision.cluster import MAX_NODES
from tierwise_decision.complaints import Complaints
from tierwise_decision.database import telemetry as tables
from tierwise_decision.database.store import Store
from tierwise_decision.known import Known

SECOND = 1_000_000_000
AHEAD = 300 * SECOND
"""How far a node's clock may be ahead of ours."""
MAX_TEXT = 8 * 1024 * 1024
"""Bytes of a batch once it is unpacked."""
HISTORY = 16
"""Measurements of each node that stay in memory: what a straggler's past is judged by."""
PEERS = 3
READ_EVERY = 5.0
_SAME_MEMORY = 0.02
"""Balloons and firmware move a node's memory by less than this: no event."""
_decoder = msgspec.json.Decoder(TelemetryBatch)


class Loads:
    """The load of each node. `heard` is called with the node after each new measurement of it.

    `knows` says whether a node is in slurm.conf; None where Slurm can't be asked, and then every node is taken.
    """

    def __init__(self, known: Known, store: Store, complain: Complaints, raw_seconds: Callable[[], float]) -> None:
        self._known, self._store, self._complain, self._raw_seconds = known, store, complain, raw_seconds
        self._newest: dict[str, NodeLoad] = {}
        self._history: dict[str, deque[Measurement]] = {}
        self._addresses: dict[str, str] = {}
        self._names: list[str] = []
        self._read_up_to = 0
        self.elsewhere: dict[str, float] = {}
        """Nodes that have been read, not heard: when they reported, in seconds since the epoch."""
        self.heard: Callable[[str], None] = lambda node: None
        self.knows: Callable[[str], bool | None] = lambda node: None
        self.ahead: Callable[[str], tuple[StageAhead, ...]] = lambda node: ()
        """What a node may stage for pending jobs."""

    def load(self, node: str) -> NodeLoad | None:
        """The newest that is known of a node."""
        return self._newest.get(node)

    def nodes(self) -> list[str]:
        """The nodes that have ever reported, by name."""
        return sorted(self._newest)

    def history(self, node: str) -> Sequence[Measurement]:
        """The newest measurements of a node, oldest first, without links, tiers and peers."""
        return tuple(self._history.get(node, ()))

    def check_known(self, node: str) -> None:
        """Raises RefusedError for a node that Slurm doesn't know."""
        if self.knows(node) is False:
            raise RefusedError(f"node {node} is not in slurm.conf")

    async def take(self, body: bytes, packed: bool, address: str) -> TelemetryAnswer:
        """Write a batch down. Raises ProtocolError, RefusedError (403: no such node), and UnavailableError when the
        database does not take it: send it again later."""
        batch = unpack(body, packed)
        self.check_known(batch.node)
        if len(self._newest) >= MAX_NODES and batch.node not in self._newest:
            raise RefusedError(f"more than {MAX_NODES} nodes")
        now = time.time_ns()
        good = self._good(batch, now)
        if good:
            taken = msgspec.structs.replace(batch, measurements=tuple(good))
            self._compare(taken)
            self._store.pending.telemetry.take(taken, good, now)
            if not await self._store.committed():
                raise UnavailableError(f"the database did not take the measurements: {self._store.problem or 'slow'}")
            self._remember(batch.node, NodeLoad(batch.hardware, good[-1]), good)
        if address:
            self._addresses[batch.node] = address
        return TelemetryAnswer(len(good), self._peers(batch.node), self.ahead(batch.node))

    def _good(self, batch: TelemetryBatch, now: int) -> list[Measurement]:
        """The measurements that can be true, in the order of time; the others are counted and dropped."""
        oldest = now - int(self._raw_seconds() * SECOND)
        good = [one for one in batch.measurements if oldest <= one.time <= now + AHEAD]
        if bad := len(batch.measurements) - len(good):
            worst = max(batch.measurements, key=lambda one: abs(one.time - now))
            away = (worst.time - now) / SECOND
            self._complain(
                "telemetry_clock", f"{bad} measurements of {batch.node} are {away:+.0f} s away from our clock"
            )
        known = self._newest.get(batch.node)
        if known and good and all(one.time <= known.measurement.time for one in good):
            self._complain("telemetry_repeated", f"{len(good)} measurements of {batch.node} came again, or late")
        return sorted(good, key=lambda one: one.time)

    def _compare(self, batch: TelemetryBatch) -> None:
        """An event when the hardware is not what it was."""
        before = self._newest.get(batch.node)
        if before and (text := difference(before.hardware, batch.hardware)):
            event = NodeEvent(batch.node, batch.measurements[-1].time, "hardware", text[:512])
            self._store.pending.telemetry.event(event)

    def _remember(self, node: str, load: NodeLoad, measurements: Iterable[Measurement]) -> bool:
        """Keep a node's newest load; False when it is not newer than what is known."""
        known = self._newest.get(node)
        if not self._is_news(node, load.measurement.time):
            return False
        if known is None:
            bisect.insort(self._names, node)
        self._newest[node] = load
        self._known.link(node, load.hardware.network)
        last = known.measurement.time if known else 0
        history = self._history.setdefault(node, deque(maxlen=HISTORY))
        history.extend(
            msgspec.structs.replace(one, links={}, tiers={}, peers={}) for one in measurements if one.time > last
        )
        self.heard(node)
        return True

    def _peers(self, node: str) -> dict[str, str]:
        """The next nodes by name that are on other hosts: each node is measured by a few others."""
        own, found = self._addresses.get(node), dict[str, str]()
        at = bisect.bisect_right(self._names, node)
        for name in (*self._names[at : at + 2 * PEERS], *self._names[: 2 * PEERS]):
            address = self._addresses.get(name)
            if address and address != own and name != node and len(found) < PEERS:
                found[name] = address
        return found

    async def run(self) -> None:
        """Read what other services on the same database have heard, as long as the service runs."""
        while True:
            with contextlib.suppress(UnavailableError):  # counted already, and read later
                await self._read()
            await asyncio.sleep(READ_EVERY)

    async def _read(self) -> None:
        since = self._read_up_to
        found, self._read_up_to = await self._store.read(
            lambda connection: tables.loads(connection, since, self._is_news)
        )
        for node, load in found.items():
            if self._remember(node, load, (load.measurement,)):
                self.elsewhere[node] = load.measurement.time / SECOND
            await asyncio.sleep(0)  # thousands of nodes: the hook does not wait for them

    def _is_news(self, node: str, time: int) -> bool:
        """Whether nothing as new is known of a node. Most of what is read is what this service has written itself."""
        known = self._newest.get(node)
        return known is None or known.measurement.time < time


def unpack(body: bytes, packed: bool) -> TelemetryBatch:
    """A batch as it came, deflated or not. Raises ProtocolError."""
    if packed:
        inflate = zlib.decompressobj()
        try:
            body = inflate.decompress(body, MAX_TEXT)
        except zlib.error as error:
            raise ProtocolError(f"the batch can't be unpacked: {error}") from None
        if not inflate.eof:
            raise ProtocolError(f"a batch that unpacks to more than {MAX_TEXT} bytes, or to half of itself")
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"not a batch of measurements: {error}") from None


def difference(before: Hardware, now: Hardware) -> str:
    """What of a node's hardware has changed, in words; empty: nothing."""
    changes = []
    if before.cpus != now.cpus or before.cpu_model != now.cpu_model:
        changes.append(f"CPUs: {before.cpus} × {before.cpu_model} → {now.cpus} × {now.cpu_model}")
    if abs(before.memory - now.memory) > _SAME_MEMORY * max(before.memory, now.memory):
        changes.append(f"memory: {format_size(before.memory)} → {format_size(now.memory)}")
    for link in sorted({*before.links, *now.links}):
        old, new = before.links.get(link), now.links.get(link)
        if old != new:
            changes.append(f"link {link}: {_speed(old)} → {_speed(new)}")
    if before.gpus != now.gpus:
        changes.append(f"GPUs: {', '.join(before.gpus) or 'none'} → {', '.join(now.gpus) or 'none'}")
    return "; ".join(changes)


def _speed(speed: int | None) -> str:
    if speed is None:
        return "absent"
    return f"{speed * 8 / 1e9:g} Gb/s" if speed else "speed unknown"

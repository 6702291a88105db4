"""The cluster as its agents say it is now: nodes, their tiers, the jobs on them, and the shapes that nodes share."""

import re
import time
from collections.abc import Callable, Iterator

import msgspec

from tierwise.errors import ProtocolError
from tierwise.messages import JobSample, NodeSample, NodeView, PlanKey
from tierwise.tiers import Tier
from tierwise.units import LARGEST
from tierwise_decision.known import Known, News, Shape

MISSED_SAMPLES = 3
MAX_NODES = 65536
_SHAPE_BITS = 6
"""Capacities that agree in their first bits (3 %) make one shape: the firmware of equal nodes keeps unequal bytes."""

_TIER_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")


class _Alike:
    """The nodes of one shape."""

    def __init__(self, tiers: tuple[Tier, ...]) -> None:
        self.tiers = tiers
        self.nodes: dict[str, tuple[Tier, ...]] = {}

    def add(self, node: str, tiers: tuple[Tier, ...]) -> None:
        """One more node of this shape."""
        self.nodes[node] = tiers
        self.tiers = _least(self.tiers, tiers)

    def remove(self, node: str) -> None:
        """One node less; what the others have in common may grow."""
        del self.nodes[node]
        members = iter(self.nodes.values())
        self.tiers = next(members, ())
        for tiers in members:
            self.tiers = _least(self.tiers, tiers)

    def shape(self) -> Shape | None:
        """The shape; None without nodes."""
        return Shape(self.tiers, len(self.nodes)) if self.nodes else None


class Cluster:
    """What samples tell, in memory. Not persistent: nodes and tiers are, jobs come again with the next samples. `known`
    is told of the shapes.

    `views`, `counts` and `totals` go through all nodes; they may be called in another thread, so that nobody has to
    wait for them (nodes are never removed).
    """

    def __init__(self, known: Known, interval: Callable[[], float], clock: Callable[[], float] = time.time) -> None:
        """`interval` says how many seconds lie between the samples of an agent, as configured now."""
        self._known = known
        self._interval = interval
        self._clock = clock
        self._samples: dict[str, NodeSample] = {}
        self._heard: dict[str, float] = {}
        self._jobs: dict[int, dict[str, JobSample]] = {}
        self._alike: dict[str, _Alike] = {}

    def restore(self, sample: NodeSample, heard: float) -> None:
        """What the database knows of a node that has not spoken since we started."""
        if sample.node not in self._samples:
            self._reshape(sample.node, (), sample.tiers)
            self._samples[sample.node] = sample
            self._heard[sample.node] = heard

    def heard(self, node: str, when: float) -> bool:
        """Another service has heard of a node (seconds since the epoch); False when the node is not known here."""
        if node not in self._samples:
            return False
        self._heard[node] = max(self._heard[node], when)
        return True

    def update(self, sample: NodeSample) -> bool:
        """Take a sample. True when the node is new or its tiers, or the agent's version, have changed."""
        before = self._samples.get(sample.node)
        if before is None and len(self._samples) >= MAX_NODES:
            raise OverflowError(f"more than {MAX_NODES} nodes")
        for job in before.jobs if before else ():
            self._drop(sample.node, job.key)
        for job in sample.jobs:
            self._jobs.setdefault(job.key.job_id, {})[sample.node] = job
        self._samples[sample.node] = sample
        self._heard[sample.node] = self._clock()
        old = figures(before.tiers) if before else ()
        if old == figures(sample.tiers):
            return before is not None and before.version != sample.version
        self._reshape(sample.node, before.tiers if before else (), sample.tiers)
        return True

    def ended(self, node: str, key: PlanKey) -> None:
        """The job has been reported: it is no longer on that node, whatever the last sample said."""
        self._drop(node, key)
        if sample := self._samples.get(node):
            left = tuple(job for job in sample.jobs if job.key != key)
            self._samples[node] = msgspec.structs.replace(sample, jobs=left)

    def sample(self, node: str) -> NodeSample | None:
        """A node's last sample."""
        return self._samples.get(node)

    def job(self, job_id: int) -> dict[str, JobSample]:
        """What each node last said of a job."""
        return dict(self._jobs.get(job_id, {}))

    def jobs(self) -> Iterator[int]:
        """The ids of all jobs on nodes, newest first."""
        return iter(sorted(self._jobs, reverse=True))

    def views(self) -> list[NodeView]:
        """Every node, sorted by name."""
        return [self._view(name) for name in sorted(self._samples)]

    def counts(self) -> tuple[int, int]:
        """How many nodes are up, and how many silent."""
        names = list(self._samples)
        up = sum(self._is_up(name) for name in names)
        return up, len(names) - up

    def totals(self) -> dict[str, dict[str, float]]:
        """Capacity and free bytes by tier over the nodes that are up, and their number: gauges for `/metrics`."""
        capacity: dict[str, float] = {}
        free: dict[str, float] = {}
        for name, sample in list(self._samples.items()):
            if self._is_up(name):
                for tier in sample.tiers:
                    capacity[tier.name] = capacity.get(tier.name, 0) + tier.capacity
                    free[tier.name] = free.get(tier.name, 0) + tier.free
        up, silent = self.counts()
        return {
            "tierwise_tier_capacity_bytes": capacity,
            "tierwise_tier_free_bytes": free,
            "tierwise_nodes_up": {"": up},
            "tierwise_nodes_silent": {"": silent},
            "tierwise_jobs_on_nodes": {"": len(self._jobs)},
        }

    def _view(self, name: str) -> NodeView:
        sample = self._samples[name]
        age = max(self._clock() - self._heard[name], 0.0)
        return NodeView(sample, age, "up" if self._is_up(name) else "silent")

    def _is_up(self, name: str) -> bool:
        return self._clock() - self._heard[name] <= MISSED_SAMPLES * self._interval()

    def _drop(self, node: str, key: PlanKey) -> None:
        nodes = self._jobs.get(key.job_id, {})
        if node in nodes and nodes[node].key == key:
            del nodes[node]
        if not nodes:
            self._jobs.pop(key.job_id, None)

    def _reshape(self, node: str, old: tuple[Tier, ...], new: tuple[Tier, ...]) -> None:
        changed: dict[str, Shape | None] = {}
        before = _key(old)
        if (alike := self._alike.get(before)) and node in alike.nodes:
            alike.remove(node)
            changed[before] = alike.shape()
            if not alike.nodes:
                del self._alike[before]
        ranked, key = tuple(sorted(new, key=lambda tier: tier.rank)), _key(new)
        alike = self._alike.setdefault(key, _Alike(ranked))
        alike.add(node, ranked)
        self._known.take(News(shapes=changed | {key: alike.shape()}))


def check_tiers(tiers: tuple[Tier, ...]) -> None:
    """Names that can stand in a GRES, each once; figures that a database can hold. Raises ProtocolError."""
    if len({tier.name for tier in tiers}) < len(tiers):
        raise ProtocolError("a tier is named twice")
    for tier in tiers:
        if not _TIER_NAME.fullmatch(tier.name):
            raise ProtocolError("a tier's name is lower-case letters, digits and '_', at most 16")
        numbers = (tier.rank, tier.capacity, tier.free, tier.latency_ns, tier.bandwidth, *tier.numa_nodes)
        if not all(0 <= number <= LARGEST for number in numbers):
            raise ProtocolError(f"a figure of tier {tier.name} is out of range")


def figures(tiers: tuple[Tier, ...]) -> tuple[tuple[object, ...], ...]:
    """What of the tiers does not change from sample to sample."""
    return tuple((t.name, t.rank, t.numa_nodes, t.capacity, t.latency_ns, t.bandwidth, t.source) for t in tiers)


def _key(tiers: tuple[Tier, ...]) -> str:
    """What tells one shape from others."""
    return ",".join(f"{tier.name}:{_coarse(tier.capacity)}" for tier in sorted(tiers, key=lambda tier: tier.rank))


def _coarse(capacity: int) -> int:
    shift = max(capacity.bit_length() - _SHAPE_BITS, 0)
    return capacity >> shift << shift


def _least(one: tuple[Tier, ...], other: tuple[Tier, ...]) -> tuple[Tier, ...]:
    return tuple(a if a.capacity <= b.capacity else b for a, b in zip(one, other, strict=True))

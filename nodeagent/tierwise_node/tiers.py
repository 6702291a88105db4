"""From NUMA nodes to tiers: which node is dram, pmem or cxl, how fast each tier is, and what it has free.

A node's kind is the configuration's word, else what its device says, else its rank: nodes with CPUs and those of the
fastest memory tier are dram; one slower group is cxl, the faster of two is pmem (as on the lab's node).
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tierwise.config import TierConfig
from tierwise.tiers import KINDS, Source, Tier, TierName
from tierwise_node.numa import NodeFacts, NumaNodes

log = logging.getLogger(__name__)
Probe = Callable[[int], tuple[int, int]]
_DRAM_LATENCY_NS, _DRAM_BANDWIDTH = 80, 100_000_000_000
"""Figures of a local DDR node: what a distance of 10 is taken for where nothing else is known."""


@dataclass(frozen=True)
class Figures:
    """Latency (ns) and bandwidth (bytes per second) of one node, and where they come from."""

    latency_ns: int
    bandwidth: int
    source: Source


class Topology:
    """The node's tiers. Ranked once: what changes later is how large and how full they are.

    `capacity_share` is the part of each tier that belongs to this NodeName, where several share a host.
    """

    def __init__(
        self, numa: NumaNodes, configured: Mapping[TierName, TierConfig], probe: Probe, capacity_share: float = 1.0
    ) -> None:
        facts = numa.facts()
        self._numa = numa
        self._share = capacity_share
        self._kernel_prefers = numa.kernel_prefers()
        self._tiers = rank(kinds(facts, configured), figures(facts, probe), configured)

    @property
    def order(self) -> tuple[TierName, ...]:
        """The tiers' names, fastest first."""
        return tuple(tier.name for tier in self._tiers)

    def tiers(self, held: Mapping[TierName, int] | None = None) -> tuple[Tier, ...]:
        """Every tier now, fastest first. `held`: bytes that this NodeName's own jobs have on each."""
        return tuple(self._now(tier, (held or {}).get(tier.name, 0)) for tier in self._tiers)

    def nodes(self, names: Iterable[TierName]) -> tuple[int, ...]:
        """The NUMA nodes of some tiers, by number."""
        wanted = set(names)
        return tuple(sorted(node for tier in self._tiers if tier.name in wanted for node in tier.numa_nodes))

    def is_kernels_choice(self, names: Iterable[TierName]) -> bool:
        """Whether the kernel fills these tiers first by itself, for tasks without a policy."""
        return self.nodes(names) == self._kernel_prefers

    def roomiest(self, name: TierName) -> tuple[int, ...]:
        """The NUMA nodes of a tier, the one with most free memory first."""
        return tuple(sorted(self.nodes([name]), key=lambda node: self._numa.memory(node)[1], reverse=True))

    def huge_pages(self, name: TierName) -> int:
        """How many huge pages a tier's free memory has room for, as it lies."""
        return sum(self._numa.huge_pages(node) for node in self.nodes([name]))

    def watermarks(self, name: TierName) -> int:
        """Bytes between the kernel's low and high watermarks of a tier."""
        return sum(self._numa.between_watermarks(node) for node in self.nodes([name]))

    def per_tier(self, per_node: Mapping[int, int]) -> dict[TierName, int]:
        """Sums over the nodes of each tier."""
        return {tier.name: sum(per_node.get(node, 0) for node in tier.numa_nodes) for tier in self._tiers}

    def _now(self, tier: Tier, held: int) -> Tier:
        memory = [self._numa.memory(node) for node in tier.numa_nodes]
        capacity = int(sum(total for total, _ in memory) * self._share)
        free = sum(free for _, free in memory)
        return Tier(
            name=tier.name,
            rank=tier.rank,
            numa_nodes=tier.numa_nodes,
            capacity=capacity,
            free=free if self._share == 1.0 else min(free, max(capacity - held, 0)),
            latency_ns=tier.latency_ns,
            bandwidth=tier.bandwidth,
            source=tier.source,
        )


def kinds(facts: Sequence[NodeFacts], configured: Mapping[TierName, TierConfig]) -> dict[int, TierName]:
    """Which tier each node belongs to."""
    said = {node: name for name, tier in configured.items() for node in tier.numa_nodes}
    fastest = min((fact.memory_tier for fact in facts if fact.memory_tier is not None and fact.has_cpus), default=None)
    found: dict[int, TierName] = {}
    unnamed: list[NodeFacts] = []
    for fact in facts:
        if fact.node in said:
            found[fact.node] = said[fact.node]
        elif fact.has_cpus or (fact.memory_tier is not None and fact.memory_tier == fastest):
            found[fact.node] = "dram"
        elif fact.device:
            found[fact.node] = fact.device
        else:
            unnamed.append(fact)
    groups = sorted({_speed(fact) for fact in unnamed})
    names = ("pmem", "cxl") if len(groups) > 1 else ("cxl",)
    for fact in unnamed:
        found[fact.node] = names[min(groups.index(_speed(fact)), len(names) - 1)]
    return found


def figures(facts: Sequence[NodeFacts], probe: Probe) -> dict[int, Figures]:
    """Latency and bandwidth of every node from one source, so that they compare: HMAT, measured, or distance."""
    stated = {
        fact.node: Figures(fact.latency_ns, fact.bandwidth, "hmat")
        for fact in facts
        if fact.latency_ns is not None and fact.bandwidth is not None
    }
    if len(stated) == len(facts):
        return stated
    try:
        return {fact.node: Figures(*probe(fact.node), "measured") for fact in facts}
    except OSError as error:
        log.warning("%s: tiers are ranked by distance alone", error)
        return {
            fact.node: Figures(
                _DRAM_LATENCY_NS * fact.distance // 10, _DRAM_BANDWIDTH * 10 // max(fact.distance, 1), "distance"
            )
            for fact in facts
        }


def rank(
    kind: Mapping[int, TierName], figure: Mapping[int, Figures], configured: Mapping[TierName, TierConfig]
) -> tuple[Tier, ...]:
    """The tiers without their sizes, by latency. A tier is as near as its nearest node and as wide as all together."""
    tiers = []
    for name in sorted(set(kind.values()), key=lambda name: KINDS.index(name) if name in KINDS else len(KINDS)):
        nodes = tuple(sorted(node for node, its in kind.items() if its == name))
        said = configured.get(name)
        latency = (said and said.latency_ns) or min(figure[node].latency_ns for node in nodes)
        bandwidth = (said and said.bandwidth) or sum(figure[node].bandwidth for node in nodes)
        source: Source = "configured" if said and (said.latency_ns or said.bandwidth) else figure[nodes[0]].source
        tiers.append(Tier(name, 0, nodes, 0, 0, latency, bandwidth, source))
    tiers.sort(key=lambda tier: tier.latency_ns)
    return tuple(
        Tier(tier.name, place, tier.numa_nodes, 0, 0, tier.latency_ns, tier.bandwidth, tier.source)
        for place, tier in enumerate(tiers)
    )


def _speed(fact: NodeFacts) -> tuple[int, int]:
    """What makes two nodes one group: the kernel's memory tier where it has one, else their distance."""
    return (fact.memory_tier or 0, 0 if fact.memory_tier is not None else fact.distance)

"""What submissions are answered from. The service keeps it; the hook's process has a copy and reads nothing else."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import TypeVar

import msgspec

from tierwise.config import Config
from tierwise.tiers import Tier
from tierwise_policy.exclusion import exclusions
from tierwise_policy.selection import Wanted
from tierwise_policy.signature import Signature
from tierwise_policy.sizing import Estimate

K = TypeVar("K")
V = TypeVar("V")
_MOST_ESTIMATES = 60_000
"""Keys of signatures: three for each kind of job."""


class Shape(msgspec.Struct, frozen=True):
    """Nodes with the same tiers of about the same size. `tiers`, by rank, is what all have: of each the smallest."""

    tiers: tuple[Tier, ...]
    nodes: int = 1
    """How many they are."""

    @property
    def capacity(self) -> int:
        """Bytes over all tiers."""
        return sum(tier.capacity for tier in self.tiers)


class News(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """What has changed. A dictionary holds what is new under its keys; `avoided` and `eligible` replace all of it."""

    config: Config | None = None
    shapes: dict[str, Shape | None] = {}
    """None: no node has it any more."""
    estimates: dict[str, Estimate] = {}
    """By a key of a signature."""
    avoided: dict[str, float] | None = None
    """Node to how bad it is, a tenth being the finest."""
    links: dict[str, int] = {}
    """Node to the bytes per second of its fastest link; 0: not known."""
    eligible: dict[str, set[str]] | None = None
    """Partition to the nodes of it that jobs can get now."""


class Known:
    """All of it."""

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.version = 0
        """Changes whenever a shape does: what was computed from shapes is then out of date."""
        self.avoided: dict[str, float] = {}
        """Nodes that jobs are to be kept off, with how bad they are."""
        self.passed_on: Callable[[News], None] = lambda news: None
        """Told of all news at once, before whoever brought them is answered."""
        self._estimates: OrderedDict[str, Estimate] = OrderedDict()
        self._links: dict[str, int] = {}
        self._eligible: dict[str, set[str]] = {}

    def take(self, news: News) -> None:
        """Something has changed."""
        for key, shape in news.shapes.items():
            self.version += 1
            if shape is None:
                self.shapes.pop(key, None)
            else:
                self.shapes[key] = shape
        for key, estimate in news.estimates.items():
            remember(self._estimates, key, estimate, _MOST_ESTIMATES)
        self._links |= news.links
        self.avoided = self.avoided if news.avoided is None else news.avoided
        self._eligible = self._eligible if news.eligible is None else news.eligible
        self.passed_on(news)

    def all(self, config: Config | None = None) -> News:
        """What a new copy has to be told, with the configuration."""
        return News(config, {**self.shapes}, self._estimates, self.avoided, self._links, self._eligible)

    def estimate(self, kind: Signature) -> Estimate | None:
        """The estimate of the nearest kind that has a history."""
        return next((found for key, _ in kind.keys if (found := self._estimates.get(key))), None)

    def avoid(self, node: str, how_bad: float | None) -> None:
        """Jobs are to be kept off a node; None: no longer."""
        rounded = None if how_bad is None else round(how_bad, 1)
        if rounded != self.avoided.get(node):
            others = {name: bad for name, bad in self.avoided.items() if name != node}
            self.take(News(avoided=others if rounded is None else others | {node: rounded}))

    def link(self, node: str, speed: int) -> None:
        """A node's fastest link carries so many bytes per second."""
        if self._links.get(node) != speed:
            self.take(News(links={node: speed}))

    def partitions(self, eligible: dict[str, set[str]]) -> None:
        """The nodes that jobs can get now, by partition."""
        if eligible != self._eligible:
            self.take(News(eligible=eligible))

    def to_avoid(self, partition: str, wanted: Wanted, held: Collection[str] = ()) -> tuple[str, ...]:
        """The nodes that a job is to be kept off."""
        reasons = self.avoided
        if wanted.network:  # the other totals Slurm checks itself
            slow = [node for node, speed in self._links.items() if 0 < speed < wanted.network]
            reasons = reasons | dict.fromkeys(slow, 1.0)
        if not reasons:
            return ()
        return exclusions(reasons, self._eligible.get(partition, set()), wanted.nodes, held)


def remember(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Keep the newest `most`."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)

"""What agents measure of their nodes, and what the decision service makes of it. On the wire: JSON (docs/protocol.md).

Times are nanoseconds since the epoch, sizes bytes, rates bytes per second, shares between 0 and 1. Measurements come
from thousands of nodes and from disks that were full: the types bound every number, so that what decodes can be used.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tierwise.messages import Count, NodeName, ShortTuple, Words
from tierwise.tiers import TierName

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Rate = Annotated[int, Meta(ge=0, le=10**14)]
Latency = Annotated[int, Meta(ge=0, le=60 * 10**9)]
LinkName = Annotated[str, Meta(min_length=1, max_length=32)]
Resource = Literal["cpu", "memory", "network", "gpu", "gpu_memory"]
RESOURCES: tuple[Resource, ...] = ("cpu", "memory", "network", "gpu", "gpu_memory")


class Utilisation(msgspec.Struct, frozen=True, gc=False):
    """Shares of a node's resources that are in use. `network` is that of its busiest link, `gpu` the mean over GPUs."""

    cpu: Fraction = 0.0
    memory: Fraction = 0.0
    network: Fraction = 0.0
    gpu: Fraction = 0.0
    gpu_memory: Fraction = 0.0

    def share(self, resource: Resource) -> float:
        """That of one resource."""
        return float(getattr(self, resource))

    @property
    def busiest(self) -> tuple[Resource, float]:
        """The resource that is used most, and its share."""
        name = max(RESOURCES, key=self.share)
        return name, self.share(name)


class Hardware(msgspec.Struct, frozen=True, gc=False):
    """What a node is made of. `links` are its network links' speeds, 0 where the kernel doesn't know."""

    cpus: Annotated[int, Meta(ge=1, le=65536)]
    cpu_model: Annotated[str, Meta(max_length=128)]
    memory: Count
    links: Annotated[dict[LinkName, Rate], Meta(max_length=64)] = {}
    gpus: Annotated[tuple[Words, ...], Meta(max_length=64)] = ()
    """The model of each."""
    gpu_memory: Count = 0
    """Of all GPUs together."""

    @property
    def network(self) -> int:
        """The speed of the fastest link; 0: not known."""
        return max(self.links.values(), default=0)


class LinkTraffic(msgspec.Struct, frozen=True, gc=False):
    """What went over one link."""

    received: Rate
    sent: Rate


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """Means over `seconds` that end at `time`. `others` is `total` without the load of jobs that Slurm placed.

    `tiers` are shares in use of each memory tier, `peers` round trips to other nodes.
    """

    time: Count
    seconds: Annotated[float, Meta(gt=0.0, le=86400.0)]
    total: Utilisation
    others: Utilisation
    links: Annotated[dict[LinkName, LinkTraffic], Meta(max_length=64)] = {}
    tiers: Annotated[dict[TierName, Fraction], Meta(max_length=16)] = {}
    peers: Annotated[dict[NodeName, Latency], Meta(max_length=16)] = {}

    @property
    def own(self) -> Utilisation:
        """What jobs of Slurm used: the difference."""
        shares = (max(self.total.share(name) - self.others.share(name), 0.0) for name in RESOURCES)
        return Utilisation(*shares)

    @property
    def latency_ns(self) -> int:
        """The median round trip to the peers; 0: none answered, or none is known."""
        times = sorted(self.peers.values())
        return times[(len(times) - 1) // 2] if times else 0


class TelemetryBatch(msgspec.Struct, frozen=True, gc=False):
    """Agent to service (`POST /v1/telemetry`), oldest first. What was sent and not acknowledged is sent again."""

    node: NodeName
    hardware: Hardware
    measurements: Annotated[tuple[Measurement, ...], Meta(max_length=1000)]


class StageAhead(msgspec.Struct, frozen=True, gc=False):
    """A source that a pending job of `uid` will read on the node: its agent may stage it already."""

    uid: Count
    path: Annotated[str, Meta(max_length=4096)]


class TelemetryAnswer(msgspec.Struct, frozen=True, gc=False):
    """What the service has written down is safe; `peers` are nodes to measure the latency to, by their addresses."""

    taken: Count
    peers: dict[NodeName, str] = {}
    stage: Annotated[tuple[StageAhead, ...], Meta(max_length=256)] = ()


class NodeLoad(msgspec.Struct, frozen=True, gc=False):
    """A node's newest measurement, and what it is made of, as the service knows them."""

    hardware: Hardware
    measurement: Measurement


class NodeEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to a node: its hardware changed, it became a straggler, an admin pardoned it."""

    node: NodeName
    time: Count
    kind: Literal["hardware", "straggler"]
    text: Words


class Straggler(msgspec.Struct, frozen=True, gc=False):
    """A node that is marked as slow, and why: `number` is what `evidence` speaks of.

    `named` by evidence, `pinned` by an admin until they pardon it, `pardoned` by an admin: evidence is ignored till
    `until` (0: it has no end).
    """

    node: NodeName
    state: Literal["named", "pinned", "pardoned"]
    since: Count
    evidence: Words
    number: float
    until: Count = 0
    by: int | None = None
    """The uid of the admin."""

    @property
    def avoided(self) -> bool:
        """Whether jobs are kept away."""
        return self.state != "pardoned"


class StragglerOrder(msgspec.Struct, frozen=True, gc=False):
    """An admin's word on a node (`POST /v1/stragglers`)."""

    node: NodeName
    order: Literal["pin", "pardon"]
    hours: Annotated[float, Meta(ge=0.0, le=8784.0)] = 0.0
    """How long it holds; 0: a pin until it is pardoned, a pardon for a day."""
    reason: Annotated[str, Meta(max_length=256)] = ""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Why one node was or was not chosen for a job: a sentence, and the number that it stands on."""

    node: NodeName
    chosen: bool
    sentence: Words
    number: float
    score: float | None = None
    """Between 0 and 1; None where the node was dropped before it was scored."""


class Explanation(msgspec.Struct, frozen=True, gc=False):
    """`tierctl explain JOB` (`GET /v1/jobs/ID/explain`): the nodes as they were at `time`, best first."""

    job_id: Count
    time: Count
    asked: Words
    ran_on: tuple[NodeName, ...]
    verdicts: tuple[Verdict, ...]
    notes: ShortTuple = ()

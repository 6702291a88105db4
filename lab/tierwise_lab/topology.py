"""A virtual node's memory tiers: a small TOML file, and what QEMU is told of it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import msgspec

from tierwise.units import MIB, parse_size
from tierwise_lab.daemons import LabError
from tierwise_lab.options import REPOSITORY

FOLDER = REPOSITORY / "lab" / "topologies"
DEFAULT = "three-tiers"
LOCAL_DISTANCE = 10  # what the SLIT says of a node and itself (ACPI 6.5, 5.2.17)


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One NUMA node: `size` and `bandwidth` (per second) in bytes with K, M, G or T."""

    name: str
    size: str
    latency_ns: int
    bandwidth: str
    distances: tuple[int, ...]
    cpus: int = 0


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tiers of a virtual node in the order of their NUMA nodes. `check` has been called on every loaded one."""

    tier: tuple[Tier, ...]

    @property
    def cpus(self) -> int:
        return sum(tier.cpus for tier in self.tier)

    @property
    def memory(self) -> int:
        """Bytes of all tiers together."""
        return sum(parse_size(tier.size) for tier in self.tier)

    def initiator(self, node: int) -> int:
        """The nearest node that has CPUs: the one that HMAT's figures are seen from."""
        return min(
            (other for other, tier in enumerate(self.tier) if tier.cpus),
            key=lambda other: (other != node, self.tier[other].distances[node]),
        )

    def check(self) -> None:
        """ValueError with the reason if this is no machine that QEMU and Linux would take."""
        if not self.cpus:
            raise ValueError("no tier has cpus")
        for node, tier in enumerate(self.tier):
            if parse_size(tier.size) % MIB:
                raise ValueError(f"tier {tier.name}: size {tier.size} is not in whole MiB")
            parse_size(tier.bandwidth)
            if len(tier.distances) != len(self.tier) or tier.distances[node] != LOCAL_DISTANCE:
                raise ValueError(f"tier {tier.name}: needs {len(self.tier)} distances, {LOCAL_DISTANCE} to itself")
            if any(distance <= LOCAL_DISTANCE for other, distance in enumerate(tier.distances) if other != node):
                raise ValueError(f"tier {tier.name}: a distance to another node is more than {LOCAL_DISTANCE}")
        for one, other in combinations(range(len(self.tier)), 2):
            if self.tier[one].distances[other] != self.tier[other].distances[one]:
                raise ValueError(f"distances between nodes {one} and {other} differ by direction")


def load(name: str) -> Topology:
    """A topology by its name in lab/topologies or by the path of its file. LabError says what is wrong with it."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        topology = msgspec.toml.decode(path.read_bytes(), type=Topology)
        topology.check()
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise LabError(f"no topology {path}: there are {known}") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise LabError(f"topology {path}: {error}") from error
    return topology


def qemu_options(topology: Topology) -> list[str]:
    """QEMU's options for these CPUs and memories: NUMA nodes, SLIT distances, HMAT latencies and bandwidths."""
    options = ["-smp", str(topology.cpus), "-m", f"{topology.memory // MIB}M"]
    first_cpu = 0
    for node, tier in enumerate(topology.tier):
        options += ["-object", f"memory-backend-ram,size={parse_size(tier.size) // MIB}M,id=tier{node}"]
        cpus = ""
        if tier.cpus:
            cpus = f",cpus={first_cpu}-{first_cpu + tier.cpus - 1}"
            first_cpu += tier.cpus
        options += ["-numa", f"node,nodeid={node},memdev=tier{node},initiator={topology.initiator(node)}{cpus}"]
    for one, other in combinations(range(len(topology.tier)), 2):
        options += ["-numa", f"dist,src={one},dst={other},val={topology.tier[one].distances[other]}"]
    for node, tier in enumerate(topology.tier):
        lb = f"hmat-lb,initiator={topology.initiator(node)},target={node},hierarchy=memory"
        options += ["-numa", f"{lb},data-type=access-latency,latency={tier.latency_ns}"]
        options += ["-numa", f"{lb},data-type=access-bandwidth,bandwidth={parse_size(tier.bandwidth) // MIB}M"]
    return options

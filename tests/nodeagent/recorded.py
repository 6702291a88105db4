"""Machines as the kernel shows them below /sys and /proc, rebuilt as files from what was read on real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MEMINFO = """Node {node} MemTotal:       {total} kB
Node {node} MemFree:        {free} kB
Node {node} MemUsed:        1664708 kB
Node {node} Active(file):   0 kB
Node {node} Inactive(file): {inactive_file} kB
Node {node} Dirty:          {dirty} kB
Node {node} Writeback:      0 kB
Node {node} HugePages_Total:     0
"""
ZONE = """Node {node}, zone   {zone}
  per-node stats
      nr_inactive_anon 22955
  pages free     918000
        boost    0
        min      2800
        low      {low}
        high     4200
        spanned  {managed}
        present  {managed}
        managed  {managed}
        cma      0
"""


@dataclass(frozen=True)
class Node:
    """One NUMA node; sizes in KiB as the kernel prints them, HMAT in its ns and MB/s. None: silent."""

    total: int = 1 << 20
    free: int = 1 << 19
    inactive_file: int = 0
    dirty: int = 0
    cpus: bool = False
    distances: Sequence[int] = (10,)
    latency: int | None = None
    bandwidth: int | None = None
    memory_tier: int | None = None
    dax: str = ""
    """Where in /sys/devices the dax device lies that gave this node its memory."""
    zones: Mapping[str, int] = field(default_factory=lambda: {"Normal": 3500})
    """Low watermark of each zone, in pages."""


def build(folder: Path, nodes: Mapping[int, Node]) -> tuple[Path, Path]:
    """The machine's /sys and /proc below `folder`."""
    sysfs, proc = folder / "sys", folder / "proc"
    top = sysfs / "devices/system/node"
    _write(top / "has_memory", ",".join(map(str, nodes)) + "\n")
    _write(top / "online", ",".join(map(str, nodes)) + "\n")
    _write(top / "has_cpu", ",".join(str(number) for number, node in nodes.items() if node.cpus) + "\n")
    zoneinfo = ""
    for number, node in nodes.items():
        place = top / f"node{number}"
        _write(
            place / "meminfo",
            MEMINFO.format(
                node=number, total=node.total, free=node.free, inactive_file=node.inactive_file, dirty=node.dirty
            ),
        )
        _write(place / "distance", " ".join(map(str, node.distances)) + "\n")
        if node.latency is not None:
            _write(place / "access0/initiators/read_latency", f"{node.latency}\n")
            _write(place / "access0/initiators/read_bandwidth", f"{node.bandwidth}\n")
        if node.memory_tier is not None:
            tier = sysfs / f"devices/virtual/memory_tiering/memory_tier{node.memory_tier}/nodelist"
            _write(tier, f"{tier.read_text().strip()},{number}\n" if tier.exists() else f"{number}\n")
        if node.dax:
            device = sysfs / "devices" / node.dax
            _write(device / "target_node", f"{number}\n")
            link = sysfs / "bus/dax/devices" / f"dax{number}.0"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(device)
        zoneinfo += "".join(
            ZONE.format(node=number, zone=zone, low=low, managed=1 << 18) for zone, low in node.zones.items()
        )
    _write(proc / "zoneinfo", zoneinfo)
    return sysfs, proc


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


LAB = {  # the lab's node: QEMU, three backends with HMAT, Linux 6.12
    0: Node(total=2 << 20, cpus=True, distances=(10, 17, 28), latency=80, bandwidth=204800, memory_tier=4),
    1: Node(total=1 << 20, distances=(17, 10, 28), latency=140, bandwidth=102400, memory_tier=15),
    2: Node(total=2 << 20, distances=(28, 28, 10), latency=300, bandwidth=30720, memory_tier=112),
}
TWO_SOCKETS_WITH_CXL = {  # dram on both, one expander behind each, as kmem devices of two CXL regions
    0: Node(total=4 << 20, cpus=True, distances=(10, 21, 14, 24), latency=110, bandwidth=300_000, memory_tier=4),
    1: Node(total=4 << 20, cpus=True, distances=(21, 10, 24, 14), latency=110, bandwidth=300_000, memory_tier=4),
    2: Node(
        distances=(14, 24, 10, 26), latency=250, bandwidth=60_000, memory_tier=22,
        dax="platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax2.0",
    ),
    3: Node(
        distances=(24, 14, 26, 10), latency=255, bandwidth=60_000, memory_tier=22,
        dax="platform/ACPI0017:00/root0/decoder0.1/region1/dax_region1/dax3.0",
    ),
}  # fmt: skip
OPTANE_WITHOUT_HMAT = {  # persistent memory as system RAM on a kernel that says neither tiers nor figures
    0: Node(cpus=True, distances=(10, 17)),
    1: Node(distances=(17, 10), dax="LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/dax0.1/dax1.0"),
}
ONE_NODE = {0: Node(cpus=True)}

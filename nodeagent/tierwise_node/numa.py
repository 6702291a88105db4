"""What the kernel says of each NUMA node with memory: capacity, free bytes, HMAT figures, distance, memory tier.

Everything is read below two roots, /sys and /proc, so that a test can hand in a recorded machine.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tierwise.units import KIB
from tierwise_node.kernel_files import read

PAGE = 4096
MB = 1_000_000
HUGE_ORDER = 9
"""A transparent huge page is 2^HUGE_ORDER pages."""
MOST_NODES = 64
"""What csrc/pages takes: some machines number the memory of their GPUs from 252."""
_SIZES = ("MemTotal", "MemFree", "Active(file)", "Inactive(file)", "Dirty", "Writeback")
_SIZE = re.compile(rf"^Node \d+ ({'|'.join(map(re.escape, _SIZES))}): +(\d+) kB$", re.MULTILINE)
_ZONES = re.compile(r"^(?:Node (\d+), zone| +(low|high) +(\d+)$)", re.MULTILINE)
_PMEM, _CXL = re.compile(r"/ndbus\d"), re.compile(r"/(ACPI0017:\d|decoder\d|cxl_)")


@dataclass(frozen=True)
class NodeFacts:
    """What doesn't change about one NUMA node with memory. None: the kernel doesn't say.

    `latency_ns` and `bandwidth` (bytes per second) are HMAT's, as its nearest CPUs see it; `distance` is ACPI SLIT's
    to the nearest node with CPUs (10: the node itself); `memory_tier` orders nodes, smaller is faster; `device` is
    `pmem` or `cxl` where a dax device of that kind gave this node its memory.
    """

    node: int
    has_cpus: bool
    distance: int
    latency_ns: int | None = None
    bandwidth: int | None = None
    memory_tier: int | None = None
    device: str | None = None


class NumaNodes:
    """The host's NUMA nodes."""

    def __init__(self, sysfs: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._nodes = sysfs / "devices/system/node"
        self._tiering = sysfs / "devices/virtual/memory_tiering"
        self._dax = sysfs / "bus/dax/devices"
        self._buddies = proc / "buddyinfo"
        self._low, self._high = _watermarks(proc / "zoneinfo")
        self._pools: dict[int, list[tuple[str, int]]] = {}

    def facts(self) -> tuple[NodeFacts, ...]:
        """All nodes with memory, by number, but for those that the page engine can't name."""
        with_memory = [node for node in parse_list((self._nodes / "has_memory").read_text()) if node < MOST_NODES]
        with_cpus = set(parse_list((self._nodes / "has_cpu").read_text()))
        tiers, devices = dict(self._memory_tiers()), dict(self._dax_targets())
        return tuple(
            NodeFacts(
                node,
                has_cpus=node in with_cpus,
                distance=self._distance(node, with_cpus),
                latency_ns=self._access(node, "read_latency"),
                bandwidth=_scaled(self._access(node, "read_bandwidth"), MB),
                memory_tier=tiers.get(node),
                device=devices.get(node),
            )
            for node in with_memory
        )

    def memory(self, node: int) -> tuple[int, int]:
        """Capacity and free bytes of a node now: memory comes and goes (hotplug, balloons).

        Huge pages that were set aside (hugetlbfs) are nobody's to place, and no part of its capacity. Free is what the
        kernel could hand out: free and clean, idle page cache, less the low watermark.
        """
        info = self._meminfo(node)
        clean = max(info["Inactive(file)"] - info["Dirty"] - info["Writeback"], 0)
        return max(info["MemTotal"] - self._set_aside(node), 0), max(
            info["MemFree"] + clean - self._low.get(node, 0), 0
        )

    def empty(self, node: int) -> int:
        """Bytes of a node that hold nothing, not even page cache, and that the kernel hands out before it reclaims."""
        return max(self._meminfo(node)["MemFree"] - self._low.get(node, 0), 0)

    def page_cache(self, node: int) -> int:
        """Bytes of a node's page cache on the kernel's lists for reclaim."""
        info = self._meminfo(node)
        return info["Active(file)"] + info["Inactive(file)"]

    def huge_pages(self, node: int) -> int:
        """How many huge pages fit into a node's free memory as it lies: free blocks by order (proc(5), buddyinfo)."""
        rows = [line.replace(",", " ").split() for line in read(str(self._buddies)).splitlines()]
        blocks = [row[4 + HUGE_ORDER :] for row in rows if row[1] == str(node)]
        return sum(int(count) << larger for row in blocks for larger, count in enumerate(row))

    def between_watermarks(self, node: int) -> int:
        """Bytes between a node's low and high watermarks: woken at the low one, the kernel reclaims up to the other."""
        return max(self._high.get(node, 0) - self._low.get(node, 0), 0)

    def _meminfo(self, node: int) -> dict[str, int]:
        """Bytes by name. A node can go offline: then it has none."""
        try:
            text = read(f"{self._nodes}/node{node}/meminfo")
        except OSError:
            text = ""
        return dict.fromkeys(_SIZES, 0) | {name: int(kib) * KIB for name, kib in _SIZE.findall(text)}

    def _set_aside(self, node: int) -> int:
        """Bytes of a node's pools of huge pages (Documentation/admin-guide/mm/hugetlbpage.rst)."""
        pools = self._pools.get(node)
        if not pools:  # which there are stays as it is while the node is there; to look takes longer than to read them
            found = (self._nodes / f"node{node}/hugepages").glob("hugepages-*kB")
            pools = self._pools[node] = [(f"{pool}/nr_hugepages", int(pool.name[10:-2]) * KIB) for pool in found]
        try:
            return sum(int(read(count)) * size for count, size in pools)
        except OSError:  # it went offline just now
            return 0

    def _access(self, node: int, name: str) -> int | None:
        """A figure of HMAT's access class 0 (Documentation/admin-guide/mm/numaperf.rst); 0 means unknown too."""
        try:
            return int((self._nodes / f"node{node}/access0/initiators/{name}").read_text()) or None
        except (OSError, ValueError):
            return None

    def _distance(self, node: int, with_cpus: set[int]) -> int:
        return min((far for other, far in self._distances(node).items() if other in with_cpus), default=10)

    def _distances(self, node: int) -> dict[int, int]:
        """ACPI SLIT's distance from a node to each that is online. Empty: this one is not."""
        try:
            row = (self._nodes / f"node{node}/distance").read_text()
        except OSError:
            return {}
        return dict(zip(parse_list((self._nodes / "online").read_text()), map(int, row.split()), strict=False))

    def kernel_prefers(self) -> tuple[int, ...]:
        """The nodes that the kernel fills first whatever CPU asks, without a policy: those with CPUs, where each of
        them is nearer to all others of them than to any node without. Empty: it depends on the CPU."""
        with_cpus = set(parse_list((self._nodes / "has_cpu").read_text()))
        for node in with_cpus:
            row = self._distances(node)
            others = [far for other, far in row.items() if other not in with_cpus]
            if others and max(row.get(other, 10) for other in with_cpus) >= min(others):
                return ()
        return tuple(sorted(with_cpus))

    def _memory_tiers(self) -> Iterator[tuple[int, int]]:
        for folder in self._tiering.glob("memory_tier*"):
            for node in parse_list((folder / "nodelist").read_text()):
                yield node, int(folder.name.removeprefix("memory_tier"))

    def _dax_targets(self) -> Iterator[tuple[int, str]]:
        """Nodes whose memory a dax device gave (kmem), by what lies above the device: NVDIMM bus or CXL."""
        for device in self._dax.glob("*"):
            place = str(device.resolve())
            kind = "pmem" if _PMEM.search(place) else "cxl" if _CXL.search(place) else None
            try:
                node = int((device / "target_node").read_text())
            except (OSError, ValueError):
                continue
            if kind:
                yield node, kind


def parse_list(text: str) -> list[int]:
    """Numbers of a kernel list: `0-2,5`."""
    numbers: list[int] = []
    for item in text.split(","):
        first, _, last = item.strip().partition("-")
        if first:
            numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def _watermarks(zoneinfo: Path) -> tuple[dict[int, int], dict[int, int]]:
    """The sums of each node's zones' low and high watermarks, in bytes: woken at the low one, the kernel reclaims up to
    the high one. Read once: the file has seven lines for each CPU and zone."""
    sums: dict[str, dict[int, int]] = {"low": {}, "high": {}}
    node = 0
    for zone, mark, pages in _ZONES.findall(zoneinfo.read_text()):
        if zone:
            node = int(zone)
        else:
            sums[mark][node] = sums[mark].get(node, 0) + int(pages) * PAGE
    return sums["low"], sums["high"]


def _scaled(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor


def kernel_demotes(sysfs: Path = Path("/sys")) -> bool | None:
    """Whether the kernel moves what it reclaims to a slower tier; None where it can't
    (Documentation/ABI/testing/sysfs-kernel-mm-numa)."""
    try:
        return read(f"{sysfs}/kernel/mm/numa/demotion_enabled").strip() in ("true", "1")
    except OSError:
        return None

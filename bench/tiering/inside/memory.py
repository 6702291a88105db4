"""How much of each tier the jobs may use: the rest is taken away in huge pages that nobody maps, which costs nobody a
process and can't be moved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tierwise_node.numa import NumaNodes

NODES = Path("/sys/devices/system/node")
HUGE = 2 << 20


def leave_free(wanted: Mapping[int, int]) -> dict[int, int]:
    """Leave about `wanted` bytes on each NUMA node that the kernel hands out, page cache dropped first: what it keeps
    below its low watermark is nobody's. Here that is a quarter of DRAM, as its node is a large one; of a real node's
    DRAM it is next to nothing. The bytes that are free now."""
    for node in wanted:
        _reserve(node, 0)
    Path("/proc/sys/vm/drop_caches").write_text("3")
    numa = NumaNodes()
    for node, usable in wanted.items():
        spare = numa.empty(node) - usable if usable else free_bytes(node)
        _reserve(node, max(0, spare) // HUGE)
    return {node: free_bytes(node) for node in wanted}


def free_bytes(node: int) -> int:
    """Free memory of one node."""
    found = re.search(r"MemFree:\s+(\d+) kB", (NODES / f"node{node}/meminfo").read_text())
    assert found
    return int(found[1]) << 10


def _reserve(node: int, pages: int) -> None:
    (NODES / f"node{node}/hugepages/hugepages-2048kB/nr_hugepages").write_text(str(pages))

"""Tiers: sets of NUMA nodes of one kind, ranked by latency."""

from typing import Literal

import msgspec

TierName = str
"""`dram`, `pmem` or `cxl`: the names that users, GRES (`tier_dram`) and messages share."""

KINDS: tuple[TierName, ...] = ("dram", "pmem", "cxl")
GRES_PREFIX = "tier_"

Source = Literal["hmat", "measured", "distance", "configured"]


class Tier(msgspec.Struct, frozen=True, gc=False):
    """One tier of one node. Bytes, nanoseconds, bytes per second; `rank` 0 is the fastest.

    `free` is what the kernel could hand out now: MemFree and clean page cache of its NUMA nodes, less their low
    watermarks. `source` says where latency and bandwidth come from.
    """

    name: TierName
    rank: int
    numa_nodes: tuple[int, ...]
    capacity: int
    free: int
    latency_ns: int
    bandwidth: int
    source: Source = "hmat"

"""The environments that a workflow runs in: which memory it gets, and who manages it (dissertation, section 8.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

BALANCING, DEMOTION = "/proc/sys/kernel/numa_balancing", "/sys/kernel/mm/numa/demotion_enabled"
MGLRU = "/sys/kernel/mm/lru_gen/enabled"
DAMON_STAT = "/sys/module/damon_stat/parameters/enabled"
"""A monitor of the whole memory, on by default in Debian's newer kernels. While it runs nobody else may use DAMON."""


@dataclass(frozen=True)
class Environment:
    """`memory` is all of it on DRAM ("dram"), what DRAM is short of on disk ("swap"), or on slower tiers ("tiers").
    `settings` are what is written to these files of the kernel; `manager` is who places or moves pages besides it."""

    name: str
    memory: str
    settings: dict[str, str] = field(default_factory=dict)
    manager: str = ""


DEFRAG = "/sys/kernel/mm/transparent_hugepage/defrag"
_EVERYWHERE = {MGLRU: "y", DAMON_STAT: "N", DEFRAG: "madvise"}
_QUIET = {**_EVERYWHERE, BALANCING: "0", DEMOTION: "0"}
_TIERING = {**_EVERYWHERE, BALANCING: "2", DEMOTION: "1"}

ENVIRONMENTS = {
    each.name: each
    for each in (
        Environment("ideal", "dram", _QUIET),
        Environment("constrained", "swap", _QUIET),
        Environment("kernel", "tiers", _TIERING),
        Environment("kernel-defer", "tiers", {**_TIERING, DEFRAG: "defer"}),
        Environment("tierwise", "tiers", _TIERING, manager="tierwise"),
        Environment("default", "tiers", _QUIET),
        Environment("uniform", "tiers", _QUIET, manager="interleave"),
        Environment("damon", "tiers", {**_QUIET, DEMOTION: "1"}, manager="damon"),
    )
}

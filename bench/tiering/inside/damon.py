"""DAMON's own tiering, on the virtual addresses of the jobs: migrate_hot to DRAM, migrate_cold to the next tier, both
with quotas that tune themselves so that DRAM is used but for half a percent. That is what damo's example for memory
tiering sets up for physical addresses (damonitor/damo, scripts/mem_tier.sh); needs Linux 6.17. The kernel documents the
files in Documentation/admin-guide/mm/damon/usage.rst.

Two things differ as the programs here run for ten guest seconds: quotas are tuned and schemes applied each 10 ms
instead of each second, and the sampling interval stays at 5 ms instead of tuning itself. Self-tuning begins at one byte
and grows at each step by how far its goal is away, a fifth or less here: with steps of a second, and with steps of
100 ms, it had moved nothing when the programs ended. What it may move in a second is the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ADMIN = Path("/sys/kernel/mm/damon/admin/kdamonds")
DRAM, NEXT = 0, 1

MONITORING = {
    "intervals/sample_us": 5_000,
    "intervals/aggr_us": 100_000,
    "intervals/update_us": 1_000_000,
    "nr_regions/min": 10,
    "nr_regions/max": 1_000,
}
EVERY = {
    "apply_interval_us": 10_000,
    "quotas/bytes": 2 << 20,
    "quotas/reset_interval_ms": 10,
    "access_pattern/sz/min": 4096,
    "access_pattern/sz/max": (1 << 63) - 1,
    "access_pattern/age/min": 0,
    "access_pattern/age/max": (1 << 31) - 1,
}
COLD = {
    **EVERY,
    "action": "migrate_cold",
    "target_nid": NEXT,
    "access_pattern/nr_accesses/min": 0,
    "access_pattern/nr_accesses/max": 0,
    "quotas/goals/nr_goals": 1,
    "quotas/goals/0/target_metric": "node_mem_free_bp",
    "quotas/goals/0/target_value": 50,
    "quotas/goals/0/nid": DRAM,
}
HOT = {
    **EVERY,
    "action": "migrate_hot",
    "target_nid": DRAM,
    "access_pattern/nr_accesses/min": 1,  # 5 % of the 20 samples of an aggregation
    "access_pattern/nr_accesses/max": (1 << 31) - 1,
    "quotas/goals/nr_goals": 1,
    "quotas/goals/0/target_metric": "node_mem_used_bp",
    "quotas/goals/0/target_value": 9970,
    "quotas/goals/0/nid": DRAM,
}


def start(pids: Sequence[int]) -> None:
    """Let one kdamond watch and move these processes. It runs on this process's CPU, as the agent's do on its."""
    _write(ADMIN, {"nr_kdamonds": 1})
    context = ADMIN / "0/contexts/0"
    _write(ADMIN / "0/contexts", {"nr_contexts": 1})
    _write(context, {"operations": "vaddr"})
    _write(context / "monitoring_attrs", MONITORING)
    _write(context / "targets", {"nr_targets": len(pids)})
    for number, pid in enumerate(pids):
        _write(context / f"targets/{number}", {"pid_target": pid})
    _write(context / "schemes", {"nr_schemes": 2})
    for number, scheme in enumerate((COLD, HOT)):
        _write(context / f"schemes/{number}", scheme)
    _write(ADMIN / "0", {"refresh_ms": 100, "state": "on"})
    os.sched_setaffinity(int((ADMIN / "0/pid").read_text()), os.sched_getaffinity(0))


def stop() -> dict[str, int]:
    """End it; the bytes that each scheme moved, as of its last refresh: it ends by itself with the last process."""
    schemes = ADMIN / "0/contexts/0/schemes"
    moved = {
        str(scheme["action"]): int((schemes / f"{number}/stats/sz_applied").read_text())
        for number, scheme in enumerate((COLD, HOT))
    }
    with suppress(OSError):
        _write(ADMIN / "0", {"state": "off"})
    _write(ADMIN, {"nr_kdamonds": 0})
    return moved


def _write(folder: Path, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        (folder / name).write_text(str(value))

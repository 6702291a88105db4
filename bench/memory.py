"""Where the user library's memory lands, by hint, in a job of a real Slurm on a virtual node with three tiers; and what
a small allocation costs beside malloc, on this machine.

The node's tiers are made so large that 1 GiB fits on each. Time on it means nothing, so the library's is taken here.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from figures import Figure, publish

from tierwise_lab.guest import Guest
from tierwise_lab.options import REPOSITORY
from tierwise_lab.topology import Tier, Topology

GIB = 1 << 30
ROUNDS = 30
BANDWIDTHS = {"dram": 200, "pmem": 100, "cxl": 30}
TIERS = (
    Tier("dram", "3G", latency_ns=80, bandwidth="200G", distances=(10, 17, 28), cpus=1),
    Tier("pmem", "2G", latency_ns=140, bandwidth="100G", distances=(17, 10, 28)),
    Tier("cxl", "2G", latency_ns=300, bandwidth="30G", distances=(28, 28, 10)),
)
SHOULD = {
    "lat": ("dram",),
    "shl": ("dram",),
    "cap": ("cxl",),
    "bw": ("dram", "pmem", "cxl"),
    "lat,bw": ("dram", "pmem"),
    "bw,cap": ("pmem", "cxl"),
    "lat,cap": ("pmem",),
}
"""The tiers that a hint means; bytes lie on several in proportion to their bandwidths."""


def placed() -> dict[str, Any]:
    """What a job found, by hint: bench/memory_inside.py."""
    with Guest(Topology(TIERS)) as guest:
        environment = guest.start_stack()
        inside = f"/usr/bin/python3 /opt/tierwise/bench/memory_inside.py {GIB}"
        command = ["srun", "--mem=2G", "--tier=cap", "/bin/sh", "-c", f"PYTHONPATH=/opt/tierwise/site {inside}"]
        done = guest.run(command, env=environment, check=True, timeout=600)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ratio(hint: str, where: dict[str, int]) -> float:
    """The part of the bytes that is on the tier that it should be on: for several, up to each one's share."""
    total = sum(BANDWIDTHS[tier] for tier in SHOULD[hint])
    return sum(min(where.get(tier, 0), GIB * BANDWIDTHS[tier] / total) for tier in SHOULD[hint]) / GIB


def small_allocations() -> dict[str, float]:
    """Nanoseconds for one of 100,000 small allocations: bench/small_alloc.c."""
    library = REPOSITORY / "build" / "libtierwise"
    subprocess.run(["make", "-s", "-C", REPOSITORY / "csrc/libtierwise"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "small_alloc"
        source, header = REPOSITORY / "bench/small_alloc.c", REPOSITORY / "csrc/libtierwise"
        link = [f"-L{library}", "-ltierwise", f"-Wl,-rpath,{library}"]
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-I", header, "-o", program, source, *link], check=True)
        done = subprocess.run([program, str(ROUNDS)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    small = small_allocations()
    found = placed()
    figures = [
        Figure(
            f"placed_ratio_{hint.replace(',', '_')}",
            f"1 GiB with {hint.upper()} ({found[hint]['taken'].lower()}): the part that is where it should be",
            ratio(hint, found[hint]["where"]),
            at_least=0.95,
        )
        for hint in SHOULD
    ]
    figures += [
        Figure(
            "small_alloc_vs_malloc",
            "100,000 small allocations: our time by malloc's",
            small["tierwise_ns"] / small["malloc_ns"],
            at_most=1.5,
        ),
        Figure("small_alloc_ns", "one of them, ns", small["tierwise_ns"]),
        Figure("malloc_ns", "one of malloc's, ns", small["malloc_ns"]),
    ]
    publish("memory", figures, ROUNDS)


if __name__ == "__main__":
    main()

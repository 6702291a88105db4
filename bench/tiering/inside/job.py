"""One job's process: `python -m tiering.inside.job WORKFLOW CPU`.

It loads what it needs, says `ready`, waits for a line and works; then it prints what came out, and what the kernel
counted for it, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from tiering.inside import clock
from tiering.inside.memory import free_bytes


def main() -> None:
    """Arguments: the workflow's name and the CPU to run on."""
    name, cpu = sys.argv[1], int(sys.argv[2])
    os.sched_setaffinity(0, {cpu})
    workflow = importlib.import_module(f"tiering.inside.workflows.{name}")
    print("ready", flush=True)
    sys.stdin.readline()
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    clock.begin()
    answer = workflow.work(clock.DISK / "data")
    clock.end()
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    done: dict[str, Any] = {
        "answer": answer,
        "major_faults": after.ru_majflt - before.ru_majflt,
        "minor_faults": after.ru_minflt - before.ru_minflt,
        "guest_seconds": ended - started,
        "peak": after.ru_maxrss << 10,
        "nodes": _where(),
        "free": {node: free_bytes(node) for node in (0, 1, 2)},
    }
    print(json.dumps(done), flush=True)


def _where() -> dict[str, int]:
    """Bytes of anonymous areas by NUMA node, now that the work is done."""
    found: dict[str, int] = {}
    for area in Path("/proc/self/numa_maps").read_text().splitlines():
        if " anon=" in area:
            for node, pages in re.findall(r"\bN(\d+)=(\d+)", area):
                found[node] = found.get(node, 0) + int(pages) * 4096
    return found


if __name__ == "__main__":
    main()

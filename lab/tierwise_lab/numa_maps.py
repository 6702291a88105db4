"""Where a job's anonymous pages are, read straight from the kernel: the lab's own witness, not Tierwise's."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

_NODE = re.compile(r"\bN(\d+)=(\d+)")
_SIZE = re.compile(r"\bkernelpagesize_kB=(\d+)")


def anonymous_bytes(job_marker: str) -> dict[int, int]:
    """Bytes per NUMA node in the anonymous areas of all processes with `job_marker` in their environment.

    Areas of files are left out: their pages are shared with others. See numa(7), proc_pid_numa_maps(5).
    """
    total: Counter[int] = Counter()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                if job_marker.encode() in (process / "environ").read_bytes().split(b"\0"):
                    total.update(_of_process((process / "numa_maps").read_text()))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended
    return dict(total)


def _of_process(numa_maps: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for area in numa_maps.splitlines():
        if " anon=" in area and " file=" not in area:
            size = _SIZE.search(area)
            kib = int(size[1]) if size else 4
            found.update({int(node): int(pages) * kib * 1024 for node, pages in _NODE.findall(area)})
    return found

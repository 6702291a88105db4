"""Free memory in pieces becomes huge pages when a job's plan wants them, on a real node."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handmade import NOBODY, hand_made, running_agent, until

from tierwise.units import MIB
from tierwise_node.compaction import free, huge

NODE = "pieces"
PMEM, CXL = 1, 2
HOLES = 200
"""MiB of which every other page is given away."""
SPARE = 20
FILLS = """
import ctypes, mmap, sys, time
import numpy as np
size, holes, away = int(sys.argv[1]) << 20, int(sys.argv[2]) << 20, int(sys.argv[3])
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
whole, pieces = mmap.mmap(-1, size, flags=flags), mmap.mmap(-1, holes, flags=flags)
whole.madvise(mmap.MADV_HUGEPAGE)
pieces.madvise(mmap.MADV_NOHUGEPAGE)
for held in (pieces, whole):
    np.frombuffer(held, np.uint8)[::4096] = 1
start = np.frombuffer(pieces, np.uint8).ctypes.data
at = np.arange(start, start + holes, 2 * 4096, dtype=np.uint64)
nodes, status = np.full(len(at), away, np.int32), np.zeros(len(at), np.int32)
ctypes.CDLL(None).syscall(279, 0, ctypes.c_ulong(len(at)), ctypes.c_void_p(at.ctypes.data),
                          ctypes.c_void_p(nodes.ctypes.data), ctypes.c_void_p(status.ctypes.data), 2)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_tier_in_pieces_is_compacted_for_a_plan_and_the_gain_is_told() -> None:
    jobs_of_node = contextmanager(hand_made)(NODE)
    with running_agent(NODE, {"sample_interval": 0.5}) as agent, jobs_of_node as jobs, in_pieces():
        assert free([CXL]) > 100 * MIB
        before = huge([CXL])
        assert before < 50 * MIB
        jobs.make(1)
        agent.ask(op="task", job_id=1, step=0, uid=NOBODY, tier="cap", mem=100 * MIB)
        events = until(lambda: told(agent.ask(op="events", since=0, job_id=1)["json"]), "the tier to be compacted", 60)
        assert "free in huge pages on cxl" in events[0]
        assert huge([CXL]) > before + 50 * MIB
        agent.ask(op="epilog", job_id=1, uid=NOBODY)


def told(events: str) -> list[str]:
    """Why tiers were compacted."""
    return [each["why"] for each in json.loads(events) if each["what"] == "compacted"]


@contextmanager
def in_pieces() -> Iterator[None]:
    """Somebody's memory on CXL that leaves SPARE MiB whole, and HOLES / 2 MiB in single pages."""
    size = free([CXL]) // MIB - HOLES - SPARE
    argv = ["numactl", f"--preferred={CXL}", sys.executable, "-c", FILLS, str(size), str(HOLES), str(PMEM)]
    Path("/proc/sys/vm/drop_caches").write_text("3")
    by_itself = Path("/proc/sys/vm/compaction_proactiveness")
    before = by_itself.read_text()
    by_itself.write_text("0")  # else the kernel may be first
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        by_itself.write_text(before)
        process.kill()
        process.wait()

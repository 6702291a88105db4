"""Jobs that mean harm, or look like it: the agent serves them and touches nothing that isn't theirs."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

from handmade import MOUNT, NOBODY, AgentProcess, JobCgroups, until

from tierwise.errors import RefusedError
from tierwise.units import MIB
from tierwise_node import pages

NODE = "hostile"
DRAM, CXL = 0, 2
job_ids = itertools.count(3000)

PROCESSES = 200
"""Two thousand are tried where a fork costs less: tests/nodeagent/test_many_processes.py."""
FORKS = 'n=0; while [ $n -lt "$2" ]; do read x < "$1" > /dev/null & n=$((n + 1)); done; exec "$3" -c "$4"'
"""Each child waits for a pipe that nobody writes."""
HOLDS = """
import time
held = bytearray(b"1" * (34 << 20))
print("ready", flush=True)
time.sleep(600)
"""
AREAS = 100_000
MAPS = """
import ctypes, mmap, sys, time
count = int(sys.argv[1])
space = mmap.mmap(-1, count * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
libc, start = ctypes.CDLL(None), ctypes.addressof(ctypes.c_char.from_buffer(space))
protect = libc.mprotect
protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
for area in range(start, start + count * 4096, 8192):
    if protect(area, 4096, 1):
        break
held = bytearray(b"1" * (40 << 20))
print("ready", flush=True)
time.sleep(600)
"""
MOVES_BACK = """
import ctypes, mmap, time
import numpy as np
held = mmap.mmap(-1, 40 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(mmap.MADV_NOHUGEPAGE)
view = np.frombuffer(held, np.uint8)
view[::4096] = 1
at = np.arange(view.ctypes.data, view.ctypes.data + len(held), 4096, dtype=np.uint64)
nodes, status = np.zeros(len(at), np.int32), np.zeros(len(at), np.int32)
print("ready", flush=True)
while True:
    ctypes.CDLL(None).syscall(279, 0, ctypes.c_ulong(len(at)), ctypes.c_void_p(at.ctypes.data),
                              ctypes.c_void_p(nodes.ctypes.data), ctypes.c_void_p(status.ctypes.data), 2)
    time.sleep(0.1)
"""


def begin(agent: AgentProcess, cgroups: JobCgroups, job_id: int, *argv: str) -> subprocess.Popen[str]:
    """A `cap` job that runs a program, once that is ready; its memory begins on DRAM."""
    agent.ask(op="task", job_id=job_id, step=0, uid=NOBODY, tier="cap", mem=200 * MIB)
    process = cgroups.start(job_id, ["numactl", f"--preferred={DRAM}", *argv])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_one_that_forks_very_many_processes(agent: AgentProcess, cgroups: JobCgroups, job_id: int) -> None:
    pipe = agent.folder / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o644)
    words = ("sh", str(pipe), str(PROCESSES), sys.executable, HOLDS)
    process = begin(agent, cgroups, job_id, "sh", "-c", FORKS, *words)
    until(lambda: pages.count(process.pid).get(CXL, 0) > 32 * MIB, "its memory to be moved", 120)
    seen = until(lambda: heatmap(agent, job_id), "a window", 120)
    assert seen["processes"] == PROCESSES + 1
    assert 1 <= seen["tracked"] <= 8


def test_one_that_maps_a_hundred_thousand_areas(agent: AgentProcess, cgroups: JobCgroups, job_id: int) -> None:
    most = Path("/proc/sys/vm/max_map_count")
    before = most.read_text()
    most.write_text(str(2 * AREAS))
    try:
        process = begin(agent, cgroups, job_id, sys.executable, "-c", MAPS, str(AREAS))
        with open(f"/proc/{process.pid}/maps", "rb") as maps:
            assert sum(1 for _ in maps) > AREAS
        until(lambda: pages.count(process.pid).get(CXL, 0) > 38 * MIB, "its memory to be moved", 120)
        assert agent.answers()
    finally:
        most.write_text(before)


def test_one_that_moves_its_pages_back(agent: AgentProcess, cgroups: JobCgroups, job_id: int) -> None:
    process = begin(agent, cgroups, job_id, sys.executable, "-c", MOVES_BACK)
    until(lambda: f"job {job_id}: its pages don't stay" in agent.log.read_text(), "the agent to leave it alone", 300)
    assert process.poll() is None


def test_one_that_names_itself_like_anothers_cgroup(agent: AgentProcess, cgroups: JobCgroups, job_id: int) -> None:
    other, (own,) = next(job_ids), cgroups.folders(job_id)
    outside = MOUNT / "imposter"
    imposters = [own / f"step_0/job_{other}", outside / "system.slice" / own.parent.name / f"job_{other}"]
    cgroups.make(other)
    agent.ask(op="task", job_id=job_id, step=0, uid=NOBODY, tier="lat", mem=200 * MIB)
    on_dram = ("numactl", f"--preferred={DRAM}")
    held = [cgroups.hold(job_id, 40, prefix=on_dram) for _ in imposters]
    try:
        for imposter, process in zip(imposters, held, strict=True):
            imposter.mkdir(parents=True)
            (imposter / "cgroup.procs").write_text(str(process.pid))
        agent.ask(op="task", job_id=other, step=0, uid=NOBODY, tier="cap", mem=200 * MIB)
        real = cgroups.hold(other, 40, prefix=on_dram)
        until(lambda: pages.count(real.pid).get(CXL, 0) > 38 * MIB, "the other job's own memory to be moved")
        assert [pages.count(process.pid).get(CXL, 0) for process in held] == [0, 0]
    finally:
        for process in held:
            process.kill()
            process.wait()
        cgroups.remove(other)
        for folder in (imposters[0], *(Path(top) for top, _, _ in os.walk(outside, topdown=False))):
            until(lambda folder=folder: removed(folder), f"{folder} to go")
        agent.ask(op="epilog", job_id=other, uid=NOBODY)


def removed(folder: Path) -> bool:
    """Whether a cgroup has gone: at once after its last process it can't."""
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


def heatmap(agent: AgentProcess, job_id: int) -> dict[str, int]:
    """op=heatmap, decoded; empty while there is none."""
    try:
        found: dict[str, int] = json.loads(agent.ask(op="heatmap", job_id=job_id)["json"])
    except RefusedError:
        return {}
    return found

"""The agent on a node with three real tiers: what it finds, and where it moves a job's pages.

Jobs are hand-made: real processes in cgroups where Slurm would put them, started under a policy of the test's choice.
"""

from __future__ import annotations

import itertools
import json
import math
import mmap
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, until

from tierwise.units import MIB
from tierwise_node import pages

NODE = "handmade"
DRAM, PMEM, CXL = 0, 1, 2
HUGE_PAGE = 2 * MIB
job_ids = itertools.count(1000)

HUGE = """
import mmap, sys, time
held = mmap.mmap(-1, int(sys.argv[1]) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, len(held), 4096):
    held[at] = 1
print("ready", flush=True)
time.sleep(600)
"""
BOTH = """
import mmap, time
kept = []
for size, advice in ((8 << 20, mmap.MADV_NOHUGEPAGE), (32 << 20, mmap.MADV_HUGEPAGE)):
    held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(advice)
    for at in range(0, size, 4096):
        held[at] = 1
    kept.append(held)
print("ready", flush=True)
time.sleep(600)
"""
FORKED = """
import os, sys, time
held = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
if os.fork():
    print("ready", flush=True)
time.sleep(600)
"""
SHARING = """
import mmap, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
os.ftruncate(file, int(sys.argv[2]) << 20)
held = mmap.mmap(file, 0)
for at in range(0, len(held), 4096):
    held[at] = 1
print("ready", flush=True)
time.sleep(600)
"""

HELD_FAST = """
import ctypes, mmap, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def hold(mib):
    held = mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(held), 4096):
        held[at] = 1
    return held, ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(held))), ctypes.c_size_t(len(held))
free, locked, pinned = (hold(int(mib)) for mib in sys.argv[1:])
assert libc.mlock(*locked[1:]) == 0
ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))  # io_uring_setup
buffer = (ctypes.c_void_p * 2)(pinned[1].value, pinned[2].value)
assert ring >= 0 and libc.syscall(427, ring, 0, buffer, 1) == 0, ctypes.get_errno()  # IORING_REGISTER_BUFFERS
print("ready", flush=True)
time.sleep(600)
"""
"""Memory that anybody may move, that is locked, and that a device might be writing to: pinned as such."""
PINNED = 4
"""MiB: users may lock 8."""


def task(agent: AgentProcess, job_id: int, directive: str, mib: int) -> dict[str, str]:
    """What SPANK asks, and is answered, when the first task starts."""
    return agent.ask(op="task", job_id=job_id, step=0, uid=NOBODY, tier=directive, mem=mib * MIB)


def preferring(node: int) -> tuple[str, ...]:
    """A command prefix: allocate on `node`."""
    return ("numactl", f"--preferred={node}")


def settled(agent: AgentProcess, job_id: int, least: int) -> dict[str, object]:
    """The job, once it holds `least` bytes and agrees with its plan."""

    def agreeing() -> dict[str, object] | None:
        job = agent.job(job_id)
        return job if sum(job["found"].values()) >= least and job["agrees"] else None

    try:
        found = until(agreeing, f"job {job_id} to agree with its plan", 240)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {agent.job(job_id)}") from None
    assert found is not None
    return found


def test_the_tiers_are_found_with_hmats_figures(agent: AgentProcess) -> None:
    tiers = json.loads(agent.ask(op="status")["json"])["tiers"]
    assert [(tier["name"], tier["rank"], tier["numa_nodes"]) for tier in tiers] == [
        ("dram", 0, [DRAM]),
        ("pmem", 1, [PMEM]),
        ("cxl", 2, [CXL]),
    ]
    assert [tier["latency_ns"] for tier in tiers] == [80, 140, 300]
    assert {tier["source"] for tier in tiers} == {"hmat"}
    shares = [tier["bandwidth"] / sum(tier["bandwidth"] for tier in tiers) for tier in tiers]
    assert shares == pytest.approx([200 / 330, 100 / 330, 30 / 330], abs=0.01)
    assert all(0 < tier["free"] <= tier["capacity"] for tier in tiers)


def test_the_hosts_interleave_weights_are_the_bandwidths(agent: AgentProcess) -> None:
    sysfs = Path("/sys/kernel/mm/mempolicy/weighted_interleave")
    weights = [int((sysfs / f"node{node}").read_text()) for node in (DRAM, PMEM, CXL)]
    assert [weight / sum(weights) for weight in weights] == pytest.approx([200 / 330, 100 / 330, 30 / 330], abs=0.01)


def test_the_agents_own_memory_is_on_the_slowest_tier(agent: AgentProcess) -> None:
    held = dict.fromkeys((DRAM, PMEM, CXL), 0)
    for area in Path(f"/proc/{agent.pid}/numa_maps").read_text().splitlines():
        if " anon=" in area:
            for node, count in re.findall(r"\bN(\d+)=(\d+)", area):
                held[int(node)] += int(count)
    assert held[CXL] > 0.9 * sum(held.values()) > 0


def test_page_faults_take_no_huge_pages_of_slower_tiers(agent: AgentProcess) -> None:
    defrag = Path("/sys/kernel/mm/transparent_hugepage/defrag")
    until(lambda: "[defer]" in defrag.read_text(), "the agent to set the host's huge pages")
    rows = json.loads(agent.ask(op="doctor")["json"])
    assert next(row["state"] for row in rows if row["name"] == "huge page faults") == "used"


@pytest.mark.parametrize(
    ("directive", "policy", "nodes", "balancing"),
    [
        ("lat", "default", "0", "1"),
        ("cap", "preferred_many", "2", "0"),
        ("bw", "weighted_interleave", "0,1,2", "0"),
        ("lat:16M,cap", "default", "0", "0"),
    ],
)
def test_the_initial_policy_of_each_class(
    agent: AgentProcess, job_id: int, directive: str, policy: str, nodes: str, balancing: str
) -> None:
    answer = task(agent, job_id, directive, 64)
    assert (answer["policy"], answer["nodes"], answer["numa_balancing"]) == (policy, nodes, balancing)
    assert answer["degraded"] == ""


@pytest.mark.parametrize(("directive", "starts_on"), [("cap", DRAM), ("lat", CXL), ("bw", DRAM), ("lat:32M,cap", DRAM)])
def test_what_landed_elsewhere_is_moved_to_the_plan(
    agent: AgentProcess, cgroups: JobCgroups, job_id: int, directive: str, starts_on: int
) -> None:
    task(agent, job_id, directive, 128)
    process = cgroups.hold(job_id, 100, prefix=preferring(starts_on))
    job = settled(agent, job_id, 100 * MIB)
    moves = job["moves"]
    assert isinstance(moves, dict)
    assert moves["landed"] > 0
    assert moves["asked"] == moves["landed"] + moves["refused"] + moves["bounced"]
    wanted = {
        "cap": {CXL: 1.0},
        "lat": {DRAM: 1.0},
        "bw": {DRAM: 200 / 330, PMEM: 100 / 330, CXL: 30 / 330},
        "lat:32M,cap": {DRAM: 0.32, CXL: 0.68},
    }[directive]
    where = pages.count(process.pid)
    for node in (DRAM, PMEM, CXL):
        assert where.get(node, 0) / sum(where.values()) == pytest.approx(wanted.get(node, 0), abs=0.05)


def test_huge_pages_are_moved_whole(agent: AgentProcess, cgroups: JobCgroups, job_id: int) -> None:
    task(agent, job_id, "cap", 128)
    command = [*preferring(DRAM), "/usr/bin/python3", "-I", "-c", HUGE, "64"]
    process = cgroups.start(job_id, command)
    assert process.stdout is not None
    process.stdout.readline()
    settled(agent, job_id, 64 * MIB)
    smaps = Path(f"/proc/{process.pid}/smaps").read_text()
    huge = sum(int(line.split()[1]) for line in smaps.splitlines() if line.startswith("AnonHugePages"))
    assert huge >= 60 << 10
    assert pages.count(process.pid)[CXL] >= 60 * MIB


def test_pages_that_a_fork_shares_are_moved_with_it(agent: AgentProcess, cgroups: JobCgroups, job_id: int) -> None:
    process = cgroups.start(job_id, [*preferring(DRAM), "/usr/bin/python3", "-I", "-c", FORKED, "40"])
    assert process.stdout is not None
    process.stdout.readline()
    task(agent, job_id, "cap", 64)  # only now: what was moved before the fork would be in the right place
    settled(agent, job_id, 40 * MIB)
    assert pages.count(process.pid)[CXL] >= 38 * MIB


def test_memory_that_another_job_maps_too_stays_and_is_counted_as_refused(
    agent: AgentProcess, cgroups: JobCgroups, job_id: int
) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as region:
        Path(region.name).chmod(0o666)
        program = ["/usr/bin/python3", "-I", "-c", SHARING, region.name, "40"]
        process = cgroups.start(job_id, [*preferring(DRAM), *program])
        other = subprocess.Popen(program, stdout=subprocess.PIPE)
        try:
            for each in (process, other):
                assert each.stdout is not None
                each.stdout.readline()
            task(agent, job_id, "cap", 64)
            job = until(lambda: (now := agent.job(job_id))["moves"]["refused"] > 0 and now, "a refusal")
            assert job["agrees"] is False
            assert pages.count(other.pid)[DRAM] >= 38 * MIB
        finally:
            other.kill()
            other.wait()


def test_locked_memory_moves_and_pinned_memory_is_refused_and_not_asked_for_again_and_again(
    agent: AgentProcess, cgroups: JobCgroups, job_id: int
) -> None:
    task(agent, job_id, "cap", 64)
    begun = time.monotonic()
    command = [*preferring(DRAM), "/usr/bin/python3", "-I", "-c", HELD_FAST, "20", "4", str(PINNED)]
    process = cgroups.start(job_id, command)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    until(lambda: pages.count(process.pid).get(CXL, 0) >= 24 * MIB, f"all but the pinned: {agent.job(job_id)}", 60)
    pinned = PINNED * MIB // mmap.PAGESIZE
    until(lambda: agent.job(job_id)["moves"]["refused"] >= 2 * pinned, "a second try", 60)
    assert pages.count(process.pid)[DRAM] >= PINNED * MIB
    tries = agent.job(job_id)["moves"]["refused"] / pinned
    assert tries < math.log2(time.monotonic() - begun) + 4  # pauses double; the first tries move what lies beside
    agent.ask(op="epilog", job_id=job_id, uid=NOBODY)
    moves = next(report["moves"] for report in agent.reports() if report["key"]["job_id"] == job_id)
    assert moves["asked"] == moves["landed"] + moves["refused"] + moves["bounced"]
    assert moves["landed"] >= 24 * MIB // mmap.PAGESIZE
    assert moves["refused"] >= 2 * pinned


def test_a_process_of_another_user_in_the_jobs_cgroup_is_left_alone(
    agent: AgentProcess, cgroups: JobCgroups, job_id: int
) -> None:
    task(agent, job_id, "cap", 128)
    other = cgroups.start(
        job_id,
        [*preferring(DRAM), "/usr/bin/python3", "-I", "-c", "import time; b = bytearray(b'1' * (20 << 20));"
         "print('ready', flush=True); time.sleep(600)"],
        uid=NOBODY - 1,
    )  # fmt: skip
    assert other.stdout is not None
    other.stdout.readline()
    own = cgroups.hold(job_id, 60, prefix=preferring(DRAM))
    until(lambda: pages.count(own.pid).get(CXL, 0) >= 58 * MIB, "the job's own process to be moved")
    assert pages.count(other.pid).get(CXL, 0) < MIB


def test_an_agent_killed_mid_move_finishes_after_its_restart(
    agent: AgentProcess, cgroups: JobCgroups, job_id: int
) -> None:
    task(agent, job_id, "cap", 256)
    process = cgroups.hold(job_id, 200, prefix=preferring(DRAM))
    until(lambda: pages.count(process.pid).get(CXL, 0) > 0, "the move to begin")
    agent.end(signal.SIGKILL)
    agent.start()
    settled(agent, job_id, 200 * MIB)
    assert process.poll() is None
    agent.ask(op="epilog", job_id=job_id, uid=NOBODY)
    report = agent.reports()[-1]
    assert report["key"]["job_id"] == job_id
    assert report["whole"]
    assert report["gaps"] > 0
    assert report["tiers"]["cxl"]["peak"] >= 190 * MIB


def test_a_full_tier_means_a_degraded_plan_and_a_job_that_runs(
    agent: AgentProcess, cgroups: JobCgroups, job_id: int
) -> None:
    free = json.loads(agent.ask(op="status")["json"])["tiers"][2]["free"]
    filler = subprocess.Popen(
        ["numactl", f"--preferred={CXL}", "python3", "-I", "-c", "import sys, mmap, time\n"
         f"held = mmap.mmap(-1, {free - 32 * MIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)\n"
         "print('ready', flush=True)\ntime.sleep(600)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert filler.stdout is not None
        filler.stdout.readline()
        answer = task(agent, job_id, "cap", 200)
        assert "its own tier has no more room" in answer["degraded"]
        plan = agent.job(job_id)["plan"]["parts"][0]
        assert plan["size"] == 200 * MIB
        assert 0 < plan["tiers"].get("cxl", 0) < 100 * MIB
        assert plan["unplaced"] == 0
        process = cgroups.hold(job_id, 150, prefix=preferring(int(answer["nodes"].split(",")[-1])))
        settled(agent, job_id, 150 * MIB)
        assert process.poll() is None
    finally:
        filler.kill()
        filler.wait()


def areas(pid: int) -> list[tuple[int, int, int]]:
    """Length, start and end of a process's areas."""
    ends = [line.split(maxsplit=1)[0].split("-") for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return [(int(end, 16) - int(start, 16), int(start, 16), int(end, 16)) for start, end in ends if len(end) <= 12]


def test_the_engine_itself_counts_and_moves(cgroups: JobCgroups, job_id: int) -> None:
    process = cgroups.hold(job_id, 64, prefix=preferring(DRAM))
    assert pages.count(process.pid)[DRAM] >= 64 * MIB
    first = pages.move(process.pid, [DRAM], [CXL], 16 * MIB)
    assert first.moves.asked == first.moves.landed
    assert 14 * MIB <= first.moves.landed * mmap.PAGESIZE <= 16 * MIB  # a huge page more would have been too much
    assert first.cursor != 0
    rest = pages.move(process.pid, [DRAM], [CXL], 1 << 40, first.cursor)
    assert rest.cursor == 0
    assert pages.count(process.pid)[CXL] >= 63 * MIB
    _, start, end = max(areas(process.pid))
    half = np.array([start, start + (end - start) // 8192 * 4096, end], np.uint64)
    pages.move_ranges(process.pid, half[1:2], half[2:], [CXL], [PMEM], 1 << 40)
    found = pages.locate(process.pid, half[:2], half[1:]).astype(int)
    assert found[0, CXL] == pytest.approx(int(half[1] - half[0]), rel=0.1)
    assert found[1, PMEM] == pytest.approx(int(half[2] - half[1]), rel=0.1)
    assert found[0, PMEM] + found[1, CXL] <= 2 * MIB  # a huge page that spans both belongs to where it begins
    back = pages.move(process.pid, [CXL, PMEM], [DRAM], 1 << 40)
    assert back.moves.landed >= 63 * MIB // mmap.PAGESIZE
    process.kill()
    process.wait()
    with pytest.raises(ProcessLookupError):
        pages.count(process.pid)
    assert pages.move(process.pid, [DRAM], [CXL], MIB).ended


def test_a_huge_page_among_small_ones_is_counted_where_it_is(cgroups: JobCgroups, job_id: int) -> None:
    process = cgroups.start(job_id, [*preferring(CXL), "/usr/bin/python3", "-I", "-c", BOTH])
    assert process.stdout is not None
    process.stdout.readline()
    _, _, end = max(areas(process.pid))
    for number in range(1, 4):
        start = np.array([(end // HUGE_PAGE - 2 * number) * HUGE_PAGE], np.uint64)
        moved = pages.move_ranges(process.pid, start, start + HUGE_PAGE, [CXL], [DRAM], HUGE_PAGE)
        assert moved.moves.landed == HUGE_PAGE // mmap.PAGESIZE
        assert pages.count(process.pid)[DRAM] >= number * HUGE_PAGE


def test_measured_figures_where_hmat_is_silent() -> None:
    latency_ns, bandwidth = pages.probe(CXL, 20)
    assert latency_ns > 0
    assert bandwidth > 0

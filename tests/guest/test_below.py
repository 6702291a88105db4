"""Below the last tier: a zram that the agent sets up, fills alone and takes away, on a real kernel with real tiers."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import uuid
from pathlib import Path

import numpy as np
import pytest
from handmade import NOBODY, JobCgroups, running_agent, until

from tierwise.units import KIB, MIB
from tierwise_node import pages
from tierwise_node.below import CLOSED, Below
from tierwise_node.cgroups import Cgroups
from tierwise_node.numa import NumaNodes
from tierwise_node.placer import Placer
from tierwise_node.tiers import Topology
from tierwise_node.zram import Zram
from tierwise_policy.heat import RANGE

NODE = "below"
DRAM, PMEM, CXL = 0, 1, 2
SIZE = 128 * MIB
HELD, LOCKED = 32, 4
job_ids = itertools.count(8000)
SWAPS = Path("/proc/swaps")
RANDOM = """
import ctypes, mmap, os, sys, time
size, locked = (int(word) << 20 for word in sys.argv[1:])
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, size, 4096):
    held[at:at + 2048] = os.urandom(2048)
start = ctypes.addressof(ctypes.c_char.from_buffer(held))
assert ctypes.CDLL(None).mlock(ctypes.c_void_p(start + size // 2), ctypes.c_size_t(locked)) == 0
print(start, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module", autouse=True)
def module() -> None:
    """An admin's part of it."""
    subprocess.run(["modprobe", "zram", "num_devices=0"], check=True)


def swap_limit(cgroups: JobCgroups) -> str:
    """What the kernel may swap out of the jobs."""
    return (cgroups.roots[0] / "memory.swap.max").read_text().strip()


def devices() -> list[str]:
    """Swap that is on."""
    return [line.split()[0] for line in SWAPS.read_text().splitlines()[1:]]


def test_an_agent_sets_it_up_and_takes_it_away(cgroups: JobCgroups) -> None:
    with running_agent(NODE, {"below_last": SIZE}) as agent:
        until(lambda: swap_limit(cgroups) == CLOSED, "the jobs' swap to be closed")
        (device,) = devices()
        rows = json.loads(agent.ask(op="doctor")["json"])
        assert "holds 0 of cold memory" in next(row["detail"] for row in rows if row["name"] == "zram")
        agent.end(signal.SIGTERM)
    assert devices() == []
    assert not Path(device).exists()
    assert swap_limit(cgroups) == "max"


def test_pages_go_there_by_us_alone_onto_the_slowest_tier_outlive_a_kill_and_come_back(
    cgroups: JobCgroups, tmp_path: Path
) -> None:
    topology, found = Topology(NumaNodes(), {}, pages.probe), Cgroups(NODE)
    killed = Below(tmp_path, SIZE, topology, found, Placer(topology, found))
    job_id = next(job_ids)
    cgroups.make(job_id)
    program = ["/usr/bin/python3", "-I", "-c", RANDOM, str(HELD), str(LOCKED)]
    process = cgroups.start(job_id, ["numactl", f"--preferred={CXL}", *program])
    assert process.stdout is not None
    ranges = np.zeros(1, RANGE)
    ranges["start"] = int(process.stdout.readline())
    ranges["end"] = ranges["start"] + np.uint64(HELD * MIB)
    killed.take()
    of_killed = devices()
    below = Below(tmp_path, SIZE, topology, found, Placer(topology, found))
    below.take()
    try:
        assert devices() == of_killed
        assert below.room == SIZE - 4 * KIB
        alone = pages.page_out(process.pid, ranges["start"], ranges["end"], [CXL], SIZE).moves
        assert (alone.landed, alone.refused) == (0, LOCKED * MIB // 4096)  # as the kernel's own reclaim would fare
        before = _free(DRAM)
        moved = below.page_out(job_id, NOBODY, process.pid, ranges, "cxl", SIZE)
        taken = before - _free(DRAM)
        assert moved is not None
        assert moved.refusals == {"locked": LOCKED * MIB // 4096}
        assert moved.moves.landed >= (HELD - LOCKED) * MIB // 4096 * 0.98
        assert moved.moves.asked == sum((moved.moves.landed, moved.moves.refused, moved.moves.bounced))
        assert taken < HELD * MIB / 8  # half of it random bytes: it can't be compressed to less than a half
        assert swap_limit(cgroups) == CLOSED
        assert "holds 28 MiB of cold memory of jobs" in below.mechanism().detail
    finally:
        below.give_back()
    assert devices() == []
    assert sum(pages.count(process.pid).values()) >= HELD * MIB
    assert swap_limit(cgroups) == "max"
    cgroups.remove(job_id)


def test_anothers_swap_is_left_alone_whatever_its_number(tmp_path: Path) -> None:
    number, state = int(Path("/sys/class/zram-control/hot_add").read_text()), tmp_path / "zram.json"
    device, block = f"/dev/zram{number}", Path(f"/sys/block/zram{number}")
    (block / "disksize").write_text(str(16 * MIB))
    subprocess.run(["mkswap", device], check=True)
    subprocess.run(["swapon", device], check=True)
    try:
        state.write_text(json.dumps({"number": number, "uuid": str(uuid.uuid4()), "limit": "max"}))
        ours = Zram(state, SIZE)
        ours.take()
        assert ours.problem == f"there is other swap, {device}: jobs' pages could go there as well"
        assert ours.give_back()
        assert devices() == [device]
    finally:
        subprocess.run(["swapoff", device], check=True)
        until(lambda: _removed(number, block), f"{device} to go")


def _removed(number: int, block: Path) -> bool:
    try:
        (block / "reset").write_text("1")
        Path("/sys/class/zram-control/hot_remove").write_text(str(number))
    except OSError:  # udev looks at it
        return False
    return True


def _free(node: int) -> int:
    lines = Path(f"/sys/devices/system/node/node{node}/meminfo").read_text().splitlines()
    return next(int(line.split()[3]) * KIB for line in lines if "MemFree" in line)

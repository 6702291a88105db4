"""Page cache that makes room, on a kernel that has node reclaim: it goes to a slower tier, and is not lost."""

from __future__ import annotations

from tierwise_lab.guest import Guest
from tierwise_lab.image import SUITE

CACHED_MIB, PROMISED_MIB = 150, 100

MAKE_ROOM = f"""
import time
from pathlib import Path
from tierwise.messages import PlanKey
from tierwise.plans import Part, Plan
from tierwise_node.numa import NumaNodes
from tierwise_node.page_cache import PageCache
from tierwise_node.record import JobRecord
from tierwise_node.tiers import Topology

def cached(node):
    lines = Path(f"/sys/devices/system/node/node{{node}}/meminfo").read_text().splitlines()
    return sum(int(line.split()[3]) for line in lines if "(file)" in line) >> 10

Path("/sys/kernel/mm/numa/demotion_enabled").write_text("1")
numa = NumaNodes()
topology = Topology(numa, {{}}, lambda node: (80 + node, 10**10))
before = [cached(node) for node in range(3)]
size = numa.empty(0) + ({PROMISED_MIB} << 20)
job = JobRecord(PlanKey(1), 0, started=time.time_ns(), plan=Plan((Part("LAT", size, {{"dram": size}}),)))
PageCache({{1: job}}, topology, numa, 1.0, 1 << 30).look(time.time_ns())
print(*(cached(node) - was for node, was in enumerate(before)))
"""


def test_page_cache_goes_to_a_slower_tier_when_a_starting_job_was_promised_its_room() -> None:
    with Guest("three-tiers", suite=f"{SUITE}-backports") as guest:
        read = f"dd if=/dev/vda of=/dev/null bs=1M count={CACHED_MIB} status=none"
        guest.run(["numactl", "--cpunodebind=0", "--preferred=0", "sh", "-c", read], check=True)
        done = guest.run(["python3", "-c", MAKE_ROOM], check=True)
    dram, *slower = map(int, str(done.stdout).split())
    assert dram <= -PROMISED_MIB * 0.8, done.stdout
    assert sum(slower) >= -dram * 0.8, done.stdout

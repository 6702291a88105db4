"""Page cache that makes room for starting jobs: what is asked of the kernel, and when nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import Node, build

from tierwise.messages import PlanKey
from tierwise.plans import Part, Plan
from tierwise.units import MIB
from tierwise_node.numa import NumaNodes
from tierwise_node.page_cache import STARTING, PageCache
from tierwise_node.record import SECOND, JobRecord
from tierwise_node.tiers import Topology

LOW = 3500 * 4096
NOW = 1_000 * SECOND


def job(promised: int, used: int, started: int = NOW) -> JobRecord:
    """A LAT job that was promised so much DRAM."""
    made = JobRecord(PlanKey(1), 1000, started=started, plan=Plan((Part("LAT", promised, {"dram": promised}),)))
    made.found = {"dram": used}
    return made


class Kernel:
    """A machine with DRAM and CXL whose page cache gives way: what it was asked for is kept by node."""

    def __init__(self, folder: Path, cache_mib: int, free_mib: int = 0, demotes: bool = True) -> None:
        nodes = {
            0: Node(free=free_mib * 1024 + LOW // 1024, inactive_file=cache_mib * 1024, cpus=True, distances=(10, 20)),
            1: Node(distances=(20, 10)),
        }
        self.sysfs, proc = build(folder, nodes)
        self._reclaim = self.sysfs / "devices/system/node/node0/reclaim"
        self._reclaim.write_text("")
        (self.sysfs / "kernel/mm/numa").mkdir(parents=True)
        (self.sysfs / "kernel/mm/numa/demotion_enabled").write_text("true\n" if demotes else "false\n")
        self._numa = NumaNodes(self.sysfs, proc)
        self._topology = Topology(self._numa, {}, lambda node: (80 + node, 10**10))

    def look(self, *jobs: JobRecord, rate: int = 1 << 30) -> str:
        """What was asked last of node 0 in one look; empty: nothing."""
        records = dict(enumerate(jobs))
        PageCache(records, self._topology, self._numa, 1.0, rate, self.sysfs).look(NOW)
        assert not (self.sysfs / "devices/system/node/node1/reclaim").exists()
        return self._reclaim.read_text()


def test_page_cache_gives_way_to_what_a_starting_job_was_promised(tmp_path: Path) -> None:
    assert Kernel(tmp_path, cache_mib=100).look(job(10 * MIB, used=6 * MIB)) == f"{4 * MIB} swappiness=0"


def test_it_gives_no_more_than_it_has_and_than_the_rate(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, cache_mib=30)
    assert kernel.look(job(100 * MIB, used=0)) == f"{30 * MIB} swappiness=0"
    assert kernel.look(job(100 * MIB, used=0), rate=2 * MIB) == f"{2 * MIB} swappiness=0"


@pytest.mark.parametrize(
    ("kernel", "asking"),
    [
        ({"cache_mib": 100, "free_mib": 20}, job(10 * MIB, used=0)),
        ({"cache_mib": 0}, job(10 * MIB, used=0)),
        ({"cache_mib": 100, "demotes": False}, job(10 * MIB, used=0)),
        ({"cache_mib": 100}, job(10 * MIB, used=10 * MIB)),
        ({"cache_mib": 100}, job(10 * MIB, used=0, started=NOW - int(STARTING + 1) * SECOND)),
        ({"cache_mib": 100}, JobRecord(PlanKey(1), 1000, started=NOW)),
    ],
    ids=["room is empty", "no page cache", "it would be lost", "all is used", "started long ago", "no plan"],
)
def test_nothing_is_asked_without_need(tmp_path: Path, kernel: dict[str, int], asking: JobRecord) -> None:
    assert Kernel(tmp_path, **kernel).look(asking) == ""

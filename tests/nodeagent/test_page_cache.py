"""Page cache that makes room for starting jobs: what is asked of the kernel, and when nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import Node, build

from tierwise.messages import PlanKey
from tierwise.plans import MemoryClass, Part, Plan
from tierwise.units import MIB
from tierwise_node.numa import NumaNodes
from tierwise_node.page_cache import STARTING, PageCache
from tierwise_node.record import SECOND, JobRecord
from tierwise_node.tiers import Topology

LOW = 3500 * 4096
NOW = 1_000 * SECOND


def job(asked: int, used: int, started: int = NOW, memory_class: MemoryClass = "LAT", tier: str = "dram") -> JobRecord:
    """A job that asked for so much, all of it promised on one tier."""
    made = JobRecord(PlanKey(1), 1000, started=started, plan=Plan((Part(memory_class, asked, {tier: asked}),)))
    made.found = {tier: used}
    return made


class Kernel:
    """A machine with DRAM, pmem and CXL whose page cache gives way: what it was asked for is kept by node."""

    def __init__(self, folder: Path, cache_mib: int, free_mib: int = 0, demotes: bool = True) -> None:
        free, cache = free_mib * 1024 + LOW // 1024, cache_mib * 1024
        nodes = {
            0: Node(free=free, inactive_file=cache, cpus=True, distances=(10, 17, 28)),
            1: Node(free=free, inactive_file=2 * cache, distances=(17, 10, 28)),
            2: Node(distances=(28, 28, 10)),
        }
        self.sysfs, proc = build(folder, nodes)
        self._asked = [self.sysfs / f"devices/system/node/node{node}/reclaim" for node in (0, 1)]
        for file in self._asked:
            file.write_text("")
        (self.sysfs / "kernel/mm/numa").mkdir(parents=True)
        (self.sysfs / "kernel/mm/numa/demotion_enabled").write_text("true\n" if demotes else "false\n")
        self._numa = NumaNodes(self.sysfs, proc)
        self._topology = Topology(self._numa, {}, lambda node: (80 + node, 10**10))

    def look(self, *jobs: JobRecord, rate: int = 1 << 30) -> list[str]:
        """What was asked of DRAM and of pmem in one look; empty: nothing."""
        records = dict(enumerate(jobs))
        PageCache(records, self._topology, self._numa, 1.0, rate, self.sysfs).look(NOW)
        assert not (self.sysfs / "devices/system/node/node2/reclaim").exists()
        return [file.read_text() for file in self._asked]


def test_page_cache_of_all_tiers_but_the_last_gives_way_to_what_a_starting_job_asked_for(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, cache_mib=100)
    assert kernel.look(job(10 * MIB, used=6 * MIB)) == [f"{4 * MIB} swappiness=0"] * 2
    assert kernel.look(job(10 * MIB, used=3 * MIB, memory_class="BW", tier="cxl")) == [f"{7 * MIB} swappiness=0"] * 2


def test_it_gives_no_more_than_it_has_and_than_the_rate(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, cache_mib=30)
    assert kernel.look(job(100 * MIB, used=0)) == [f"{30 * MIB} swappiness=0", f"{60 * MIB} swappiness=0"]
    assert kernel.look(job(100 * MIB, used=0), rate=2 * MIB) == [f"{2 * MIB} swappiness=0"] * 2


@pytest.mark.parametrize(
    ("kernel", "asking"),
    [
        ({"cache_mib": 100, "free_mib": 20}, job(10 * MIB, used=0)),
        ({"cache_mib": 0}, job(10 * MIB, used=0)),
        ({"cache_mib": 100, "demotes": False}, job(10 * MIB, used=0)),
        ({"cache_mib": 100}, job(10 * MIB, used=10 * MIB)),
        ({"cache_mib": 100}, job(10 * MIB, used=0, started=NOW - int(STARTING + 1) * SECOND)),
        ({"cache_mib": 100}, JobRecord(PlanKey(1), 1000, started=NOW)),
        ({"cache_mib": 100}, job(10 * MIB, used=0, memory_class="CAP", tier="cxl")),
    ],
    ids=["room is empty", "no page cache", "it would be lost", "all is used", "started long ago", "no plan", "CAP"],
)
def test_nothing_is_asked_without_need(tmp_path: Path, kernel: dict[str, int], asking: JobRecord) -> None:
    assert Kernel(tmp_path, **kernel).look(asking) == ["", ""]

"""Which tiers a machine has, from recorded machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import LAB, ONE_NODE, OPTANE_WITHOUT_HMAT, TWO_SOCKETS_WITH_CXL, Node, build

from tierwise.config import TierConfig
from tierwise.tiers import Tier
from tierwise.units import GIB, MIB
from tierwise_node.numa import NumaNodes, parse_list
from tierwise_node.tiers import Topology


def never(node: int) -> tuple[int, int]:
    """HMAT says it all: nothing is to be measured."""
    raise AssertionError(f"node {node} was measured")


def unable(node: int) -> tuple[int, int]:
    """A probe that gets no memory of the node."""
    raise OSError(18, f"could not measure the memory of node {node}")


def measured(node: int) -> tuple[int, int]:
    """Slower with the node's number."""
    return 100 * (node + 1), 10**10 // (node + 1)


def tiers(topology: Topology) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(tier.name, tier.rank, tier.numa_nodes) for tier in topology.tiers()]


def test_the_labs_node(tmp_path: Path) -> None:
    topology = Topology(NumaNodes(*build(tmp_path, LAB)), {}, never)
    assert tiers(topology) == [("dram", 0, (0,)), ("pmem", 1, (1,)), ("cxl", 2, (2,))]
    dram, pmem, cxl = topology.tiers()
    assert (dram.latency_ns, pmem.latency_ns, cxl.latency_ns) == (80, 140, 300)
    assert (dram.bandwidth, cxl.bandwidth) == (204_800_000_000, 30_720_000_000)
    assert dram.source == "hmat"
    assert dram.capacity == 2 * GIB
    assert topology.nodes(["dram", "cxl"]) == (0, 2)
    assert topology.per_tier({0: 5, 2: 7, 9: 1}) == {"dram": 5, "pmem": 0, "cxl": 7}


def test_two_sockets_are_one_tier_and_as_wide_as_both(tmp_path: Path) -> None:
    topology = Topology(NumaNodes(*build(tmp_path, TWO_SOCKETS_WITH_CXL)), {}, never)
    assert tiers(topology) == [("dram", 0, (0, 1)), ("cxl", 1, (2, 3))]
    assert [tier.bandwidth for tier in topology.tiers()] == [600 * 10**9, 120 * 10**9]
    assert [tier.latency_ns for tier in topology.tiers()] == [110, 250]


@pytest.mark.parametrize(
    ("machine", "tier", "chosen"),
    [(LAB, "dram", True), (LAB, "pmem", False), (ONE_NODE, "dram", True), (TWO_SOCKETS_WITH_CXL, "dram", False)],
    ids=["one socket", "not the slower tier", "one node", "its CXL is nearer to a socket than the other socket"],
)
def test_what_the_kernel_fills_first_by_itself(
    tmp_path: Path, machine: dict[int, Node], tier: str, chosen: bool
) -> None:
    assert Topology(NumaNodes(*build(tmp_path, machine)), {}, measured).is_kernels_choice([tier]) is chosen


def test_two_sockets_whose_slow_tier_is_far_are_the_kernels_choice(tmp_path: Path) -> None:
    machine = {
        0: Node(cpus=True, distances=(10, 21, 28)),
        1: Node(cpus=True, distances=(21, 10, 28)),
        2: Node(distances=(28, 28, 10)),
    }
    assert Topology(NumaNodes(*build(tmp_path, machine)), {}, measured).is_kernels_choice(["dram"])


def test_persistent_memory_is_known_by_its_bus_and_measured(tmp_path: Path) -> None:
    topology = Topology(NumaNodes(*build(tmp_path, OPTANE_WITHOUT_HMAT)), {}, measured)
    assert tiers(topology) == [("dram", 0, (0,)), ("pmem", 1, (1,))]
    assert [(tier.latency_ns, tier.source) for tier in topology.tiers()] == [(100, "measured"), (200, "measured")]


def test_what_can_not_be_measured_is_ranked_by_distance(tmp_path: Path) -> None:
    topology = Topology(NumaNodes(*build(tmp_path, OPTANE_WITHOUT_HMAT)), {}, unable)
    dram, pmem = topology.tiers()
    assert (dram.source, pmem.source) == ("distance", "distance")
    assert dram.latency_ns < pmem.latency_ns
    assert dram.bandwidth > pmem.bandwidth


def test_one_node_is_dram(tmp_path: Path) -> None:
    assert tiers(Topology(NumaNodes(*build(tmp_path, ONE_NODE)), {}, measured)) == [("dram", 0, (0,))]


def test_without_tiers_in_sysfs_slower_nodes_are_told_apart_by_distance(tmp_path: Path) -> None:
    nodes = {
        0: Node(cpus=True, distances=(10, 17, 28)),
        1: Node(distances=(17, 10, 28)),
        2: Node(distances=(28, 28, 10)),
    }
    topology = Topology(NumaNodes(*build(tmp_path, nodes)), {}, measured)
    assert tiers(topology) == [("dram", 0, (0,)), ("pmem", 1, (1,)), ("cxl", 2, (2,))]


def test_the_admin_knows_better(tmp_path: Path) -> None:
    configured = {"cxl": TierConfig(numa_nodes=(1, 2), latency_ns=200, bandwidth=5 * 10**10)}
    topology = Topology(NumaNodes(*build(tmp_path, LAB)), configured, never)
    assert tiers(topology) == [("dram", 0, (0,)), ("cxl", 1, (1, 2))]
    cxl = topology.tiers()[1]
    assert (cxl.latency_ns, cxl.bandwidth, cxl.source) == (200, 5 * 10**10, "configured")


def test_free_is_what_the_kernel_could_hand_out(tmp_path: Path) -> None:
    node = Node(
        total=1 << 20, free=400 << 10, inactive_file=100 << 10, dirty=30 << 10, cpus=True,
        zones={"DMA": 256, "Normal": 2304},
    )  # fmt: skip
    (tier,) = Topology(NumaNodes(*build(tmp_path, {0: node})), {}, measured).tiers()
    assert tier.free == (400 + 100 - 30) * MIB - (256 + 2304) * 4096


def test_huge_pages_that_were_set_aside_are_no_capacity(tmp_path: Path) -> None:
    sysfs, proc = build(tmp_path, {0: Node(total=4 << 20, free=1 << 20, cpus=True)})
    for size, pages in ((2048, 512), (1 << 20, 2)):
        pool = sysfs / f"devices/system/node/node0/hugepages/hugepages-{size}kB"
        pool.mkdir(parents=True)
        (pool / "nr_hugepages").write_text(f"{pages}\n")
    (tier,) = Topology(NumaNodes(sysfs, proc), {}, measured).tiers()
    assert tier.capacity == GIB


def test_huge_pages_that_fit_into_free_memory_as_it_lies(tmp_path: Path) -> None:
    sysfs, proc = build(tmp_path, {0: Node(cpus=True, distances=(10, 20)), 1: Node(distances=(20, 10))})
    (proc / "buddyinfo").write_text(
        "Node 0, zone      DMA      0      0      0      0      0      0      0      0      0      1      3 \n"
        "Node 0, zone    DMA32      9      9      9      9      9      9      9      9      9      1    468 \n"
        "Node 1, zone   Normal      9      9      9      9      9      9      9      9      9      0      0 \n"
    )
    numa = NumaNodes(sysfs, proc)
    assert [numa.huge_pages(node) for node in (0, 1)] == [1 + 2 * 3 + 1 + 2 * 468, 0]


def test_a_share_of_a_host_counts_what_its_own_jobs_hold(tmp_path: Path) -> None:
    numa = NumaNodes(*build(tmp_path, {0: Node(total=4 << 20, free=3 << 20, cpus=True)}))
    topology = Topology(numa, {}, measured, capacity_share=0.25)

    def only(held: int) -> Tier:
        return topology.tiers({"dram": held})[0]

    assert only(0).capacity == GIB
    assert only(0).free == GIB
    assert only(300 * MIB).free == 724 * MIB
    assert only(2 * GIB).free == 0


@pytest.mark.parametrize(("text", "numbers"), [("", []), ("\n", []), ("0\n", [0]), ("0-2,5,8-9\n", [0, 1, 2, 5, 8, 9])])
def test_kernel_lists(text: str, numbers: list[int]) -> None:
    assert parse_list(text) == numbers


def test_this_very_host_has_a_fastest_tier_with_free_memory() -> None:
    fastest = Topology(NumaNodes(), {}, measured).tiers()[0]
    assert 0 < fastest.free <= fastest.capacity

"""Idle room that plans promised to others: who may use it, where jobs start, and what stays (lending)."""

import pytest

from tierwise.plans import MemoryPolicy, Part, Plan
from tierwise.tiers import Tier
from tierwise.units import GIB, MIB
from tierwise_policy.allocation import TierRoom
from tierwise_policy.lending import kept, start
from tierwise_policy.placement import targets

TIERS = ("dram", "pmem", "cxl")
BANDWIDTHS = (200 * GIB, 100 * GIB, 30 * GIB)
ROOMS = [TierRoom(name, 0, bandwidth, 0) for name, bandwidth in zip(TIERS, BANDWIDTHS, strict=True)]


def node(*free: int) -> list[Tier]:
    return [
        Tier(name, rank, (rank,), GIB, size * MIB, 80, 1, "hmat")
        for rank, (name, size) in enumerate(zip(TIERS, free, strict=True))
    ]


def plan(mode: str, tiers: tuple[str, ...], *parts: tuple[str, dict[str, int]]) -> Plan:
    made = tuple(
        Part(name, sum(sizes.values()) * MIB, {tier: size * MIB for tier, size in sizes.items()})
        for name, sizes in parts
    )
    return Plan(made, MemoryPolicy(mode, tiers))


@pytest.mark.parametrize(
    ("wanted", "free", "starts"),
    [
        (plan("preferred_many", ("pmem",), ("LAT", {"pmem": 50, "cxl": 14})), (64, 50, 900), ("dram",)),
        (plan("preferred_many", ("pmem",), ("LAT", {"pmem": 50, "cxl": 14})), (63, 50, 900), ("pmem",)),
        (plan("preferred_many", ("cxl",), ("LAT", {"cxl": 20}), ("CAP", {"cxl": 60})), (10, 20, 900), ("pmem",)),
        (plan("preferred_many", ("cxl",), ("CAP", {"cxl": 60})), (900, 900, 900), ("cxl",)),
        (
            plan("weighted_interleave", ("pmem", "cxl"), ("BW", {"pmem": 40, "cxl": 4})),
            (900, 900, 900),
            ("pmem", "cxl"),
        ),
        (plan("preferred_many", ("dram",), ("LAT", {"dram": 20})), (0, 900, 900), ("dram",)),
    ],
)
def test_a_job_starts_where_room_is_idle_unless_it_asked_for_the_slow_tier(wanted, free, starts):
    assert start(wanted, node(*free)) == MemoryPolicy(wanted.policy.mode, starts)


def keeps(wanted: Plan, found: tuple[int, int, int], waits: bool = False) -> list[int]:
    sizes = {name: size * MIB for name, size in zip(TIERS, found, strict=True)}
    extra = kept(wanted, sizes, targets(wanted, sizes, TIERS), ROOMS, waits)
    return [extra[name] // MIB for name in TIERS]


def test_what_waits_for_its_own_tier_stays_where_it_found_room():
    assert keeps(plan("preferred_many", ("pmem",), ("LAT", {"pmem": 50, "cxl": 14})), (40, 20, 0)) == [40, -30, -10]
    assert keeps(plan("preferred_many", ("dram",), ("LAT", {"dram": 20, "pmem": 20})), (5, 30, 0)) == [0, 0, 0]


def test_a_bw_part_that_gave_way_keeps_its_bandwidths_share_and_no_more():
    gave_way = plan("weighted_interleave", TIERS, ("BW", {"cxl": 330}))
    assert keeps(gave_way, (100, 50, 15)) == [100, 50, -150]
    assert keeps(gave_way, (165, 0, 0)) == [100, 0, -100]
    assert keeps(plan("weighted_interleave", TIERS, ("BW", {"dram": 200, "pmem": 100, "cxl": 30})), (330, 0, 0)) == [
        0,
        0,
        0,
    ]


def test_cap_keeps_nothing_unless_it_waits_for_its_heat():
    mixed = plan("preferred_many", ("cxl",), ("LAT", {"cxl": 20}), ("CAP", {"cxl": 60}))
    assert keeps(mixed, (80, 0, 0)) == [20, 0, -20]
    assert keeps(mixed, (80, 0, 0), waits=True) == [80, 0, -80]
    assert keeps(plan("preferred_many", ("cxl",), ("CAP", {"cxl": 60})), (60, 0, 0)) == [0, 0, 0]

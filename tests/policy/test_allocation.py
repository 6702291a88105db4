"""TierAlloc's invariants (ALGORITHMS: bounded, terminating, sums exact, evictable counted down), and its cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.directive import CLASSES, ClassRequest, Request, parse_directive
from tierwise.errors import RequestTooLargeError
from tierwise.plans import Plan
from tierwise.units import GIB, MIB
from tierwise_policy.allocation import TierRoom, allocate, bandwidth_shares
from tierwise_policy.sizes import SizedClass, resolve

TIERS = ("dram", "pmem", "cxl")
SIZES = st.integers(min_value=0, max_value=1 << 50)


@st.composite
def node(draw: st.DrawFn) -> tuple[TierRoom, ...]:
    count = draw(st.integers(min_value=1, max_value=3))
    return tuple(
        TierRoom(name, draw(SIZES), draw(st.integers(min_value=0, max_value=1 << 40)), draw(SIZES))
        for name in TIERS[:count]
    )


@st.composite
def sized_classes(draw: st.DrawFn) -> tuple[SizedClass, ...]:
    names = draw(st.lists(st.sampled_from([*CLASSES, None]), unique=True, max_size=5))
    return tuple(SizedClass(name, draw(SIZES)) for name in names)


def check(plan: Plan, asked: tuple[SizedClass, ...]) -> None:
    assert plan.size == sum(one.size for one in asked)
    assert {part.memory_class: part.size for part in plan.parts} == {
        one.memory_class: one.size for one in asked if one.size
    }
    for part in plan.parts:
        assert sum(part.tiers.values()) + part.unplaced == part.size
        assert all(size >= 0 for size in part.tiers.values())
        assert 0 <= part.pinned <= part.size


@given(node(), sized_classes(), st.floats(min_value=0, max_value=1))
def test_sums_are_exact_and_no_tier_is_overcommitted(rooms, classes, pin_share):
    plan = allocate(classes, rooms, pin_share=pin_share)
    check(plan, classes)
    for room in rooms:
        assert plan.tiers.get(room.name, 0) <= room.evictable
    assert sum(part.pinned for part in plan.parts) <= rooms[0].pinnable
    assert plan.unplaced == max(0, plan.size - sum(room.evictable for room in rooms))
    assert bool(plan.unplaced) <= bool(plan.degraded)


@given(node(), sized_classes(), sized_classes())
def test_growth_and_shrinking_keep_the_sums(rooms, first, second):
    held = allocate(first, rooms)
    left = tuple(
        TierRoom(room.name, room.evictable - held.tiers.get(room.name, 0), room.bandwidth, room.pinnable)
        for room in rooms
    )
    plan = allocate(second, left, held)
    check(plan, second)
    for room in rooms:
        assert plan.tiers.get(room.name, 0) <= room.evictable


@given(node(), st.sampled_from(CLASSES), SIZES, SIZES)
def test_a_job_that_grows_keeps_what_it_has(rooms, name, size, more):
    held = allocate([SizedClass(name, size)], rooms)
    left = tuple(
        TierRoom(room.name, room.evictable - held.tiers.get(room.name, 0), room.bandwidth, room.pinnable)
        for room in rooms
    )
    plan = allocate([SizedClass(name, size + more)], left, held)
    for tier, had in held.tiers.items():
        assert plan.tiers[tier] >= had


@given(st.integers(min_value=0, max_value=1 << 60), node())
def test_bandwidth_shares_add_up(size, rooms):
    shares = bandwidth_shares(size, rooms)
    assert sum(shares.values()) == size
    assert all(share >= 0 for share in shares.values())


def rooms(dram: int, pmem: int, cxl: int) -> tuple[TierRoom, ...]:
    sizes = (dram, pmem, cxl)
    return tuple(
        TierRoom(name, size * MIB, bandwidth * 10**9, size * MIB)
        for name, size, bandwidth in zip(TIERS, sizes, (200, 100, 30), strict=True)
    )


def placed(directive: str, memory: int, *room: int) -> dict[str, float]:
    classes = resolve(parse_directive(directive), memory * MIB, explicit=True)
    plan = allocate(classes, rooms(*room))
    return {tier: round(size / MIB) for tier, size in plan.tiers.items()}


@pytest.mark.parametrize(
    ("directive", "room", "expected"),
    [
        ("lat", (1000, 1000, 1000), {"dram": 330}),
        ("shl", (100, 1000, 1000), {"dram": 100, "pmem": 230}),
        ("lat", (100, 100, 100), {"dram": 100, "pmem": 100, "cxl": 100}),  # 30 MiB are unplaced
        ("cap", (1000, 1000, 1000), {"cxl": 330}),
        ("cap", (1000, 1000, 100), {"cxl": 100, "pmem": 230}),
        ("bw", (1000, 1000, 1000), {"dram": 200, "pmem": 100, "cxl": 30}),
        ("bw", (50, 1000, 1000), {"dram": 50, "pmem": 250, "cxl": 30}),  # carried to the next
        ("bw", (1000, 10, 10), {"dram": 310, "pmem": 10, "cxl": 10}),  # and back to where there is room
        ("lat:64M,cap", (1000, 1000, 1000), {"dram": 64, "cxl": 266}),
        (
            "cap,lat:64M",
            (1000, 1000, 1000),
            {"dram": 64, "cxl": 266},
        ),  # LAT chooses first, wherever it stands
        ("lat:30", (1000, 1000, 1000), {"dram": 330}),  # the rest has no class: as the kernel would
        ("cap:50%,lat:50%", (1000, 1000, 1000), {"dram": 165, "cxl": 165}),
    ],
)
def test_where_a_job_of_330_mib_lands(directive, room, expected):
    assert placed(directive, 330, *room) == expected


def test_a_plan_that_is_not_what_was_asked_says_so():
    classes = (SizedClass("LAT", 300 * MIB), SizedClass("CAP", 300 * MIB))
    plan = allocate(classes, rooms(200, 0, 300))
    assert plan.degraded == (
        "LAT: 100 MiB of 300 MiB on cxl, its own tier has no more room",
        "CAP: 100 MiB of 300 MiB fit on no tier",
    )


def test_pins_are_bounded_by_share_and_by_what_others_pinned():
    free = rooms(1000, 1000, 1000)
    assert allocate([SizedClass("LAT", 400 * MIB)], free).parts[0].pinned == 200 * MIB
    taken = (TierRoom("dram", 1000 * MIB, 1, 10 * MIB), *free[1:])
    assert allocate([SizedClass("LAT", 400 * MIB)], taken).parts[0].pinned == 10 * MIB
    assert allocate([SizedClass("CAP", 400 * MIB)], free).parts[0].pinned == 0


@pytest.mark.parametrize(
    ("directive", "policy"),
    [
        ("lat", ("preferred_many", ("dram",), True)),
        ("bw", ("weighted_interleave", TIERS, False)),
        ("cap", ("preferred_many", ("cxl",), False)),
        ("lat:1M,cap", ("preferred_many", ("dram",), False)),
    ],
)
def test_initial_policies(directive, policy):
    classes = resolve(parse_directive(directive), 300 * MIB, explicit=True)
    found = allocate(classes, rooms(1000, 1000, 1000)).policy
    assert (found.mode, found.tiers, found.numa_balancing) == policy


def test_sizes_beyond_an_explicit_memory_are_refused_and_clipped_otherwise():
    request = parse_directive("lat:1G,cap:2G")
    with pytest.raises(RequestTooLargeError, match=r"3 GiB.* 2 GiB"):
        resolve(request, 2 * GIB, explicit=True)
    assert resolve(request, 2 * GIB, explicit=False) == (SizedClass("LAT", GIB), SizedClass("CAP", GIB))


@given(
    st.lists(st.sampled_from(CLASSES), unique=True, min_size=1),
    st.integers(min_value=1, max_value=1 << 50),
    st.data(),
)
def test_resolved_sizes_add_up_to_the_jobs_memory(names, memory, data):
    sizes = st.one_of(st.none(), st.integers(min_value=1, max_value=1 << 50))
    parts = [ClassRequest(name, data.draw(sizes)) for name in names[:1]]
    parts += [ClassRequest(name, data.draw(st.integers(min_value=1, max_value=1 << 50))) for name in names[1:]]
    resolved = resolve(Request("classes", tuple(parts)), memory, explicit=False)
    assert sum(one.size for one in resolved) == memory

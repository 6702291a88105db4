"""Algorithm 8's invariants: it ends, frees what it says, never touches a pin; sharing is exact and starves nobody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.plans import Part, Plan
from tierwise.units import MIB
from tierwise_policy.heat import RANGE
from tierwise_policy.replacement import (
    GIVES_WAY,
    TAKES_ROOM,
    beyond_share,
    coldness,
    displaceable,
    make_room,
    share,
    victims,
)

TIERS = ("dram", "pmem", "cxl")
SIZES = st.integers(min_value=0, max_value=1 << 45)


@given(st.lists(st.tuples(st.floats(0, 10), SIZES), max_size=50), st.integers(-(1 << 45), 1 << 45))
def test_victims_free_what_they_say_and_no_more_than_there_is(candidates, needed):
    scores = np.array([score for score, _ in candidates], np.float64)
    sizes = np.array([size for _, size in candidates], np.int64)
    freed = victims(needed, scores, sizes)
    assert freed.size == freed.taken.sum() == min(max(needed, 0), sizes.sum())
    assert (freed.taken >= 0).all()
    assert (freed.taken <= sizes).all()
    spared = scores[(freed.taken < sizes) & (sizes > 0)]
    if len(spared):
        assert (scores[freed.taken > 0] >= spared.max()).all()


@given(SIZES, st.dictionaries(st.integers(0, 20), SIZES, max_size=20))
def test_sharing_is_exact_and_in_proportion(capacity, claims):
    given_ = share(capacity, claims)
    assert sum(given_.values()) == min(capacity, sum(claims.values()))
    for name, claim in claims.items():
        assert 0 <= given_[name] <= claim
        if sum(claims.values()):
            assert given_[name] >= min(claim, claim * capacity // sum(claims.values()) - len(claims))


def ranges(*heats_and_ages: tuple[float, float]) -> np.ndarray:
    return np.array([(1, n, n + 1, heat, age) for n, (heat, age) in enumerate(heats_and_ages)], RANGE)


def test_what_is_long_idle_is_colder_than_what_pauses_and_than_what_is_in_use():
    long_idle, pauses, warm, hot = coldness(ranges((0, 300), (0, 2), (0.3, 300), (1, 300)))
    assert long_idle > pauses > warm > hot == 0


@st.composite
def plans(draw: st.DrawFn) -> dict[int, Plan]:
    def part(name: str | None) -> Part:
        tiers = draw(st.dictionaries(st.sampled_from(TIERS), SIZES, max_size=3))
        pinned = draw(st.integers(0, tiers.get("dram", 0))) if name == "LAT" else 0
        return Part(name, sum(tiers.values()), tiers, pinned=pinned)

    names = st.lists(st.sampled_from(["LAT", "SHL", "BW", None, "CAP"]), unique=True, max_size=5)
    return {job_id: Plan(tuple(part(name) for name in draw(names))) for job_id in range(draw(st.integers(0, 4)))}


@given(plans(), SIZES, st.dictionaries(st.sampled_from(TIERS), SIZES), st.sampled_from(TIERS))
def test_room_comes_from_cap_and_bw_never_from_a_pin_and_loses_no_byte(held, needed, rooms, tier):
    changed = make_room(held, tier, needed, rooms, TIERS, {})
    slower = TIERS[TIERS.index(tier) + 1 :]
    freed = sum(held[job].tiers.get(tier, 0) - plan.tiers.get(tier, 0) for job, plan in changed.items())
    possible = sum(rooms.get(name, 0) for name in slower)
    assert freed == min(needed, displaceable(held, tier), possible)
    for name in slower:
        more = sum(plan.tiers.get(name, 0) - held[job].tiers.get(name, 0) for job, plan in changed.items())
        assert 0 <= more <= rooms.get(name, 0)
    for job, plan in changed.items():
        assert plan.size == held[job].size
        assert any("gave way" in why for why in plan.degraded)
        for before, after in zip(held[job].parts, plan.parts, strict=True):
            assert sum(after.tiers.values()) == sum(before.tiers.values())
            assert after == before or after.memory_class in GIVES_WAY


def test_cap_gives_before_bw_and_bw_gives_in_proportion():
    held = {
        1: Plan((Part("CAP", 10 * MIB, {"dram": 10 * MIB}),)),
        2: Plan((Part("BW", 40 * MIB, {"dram": 40 * MIB}),)),
        3: Plan((Part("BW", 20 * MIB, {"dram": 20 * MIB}),)),
        4: Plan((Part("LAT", 99 * MIB, {"dram": 99 * MIB}, pinned=50 * MIB),)),
    }
    changed = make_room(held, "dram", 40 * MIB, {"pmem": 25 * MIB, "cxl": 1 << 40}, TIERS, {})
    assert {job: plan.tiers for job, plan in changed.items()} == {
        1: {"pmem": 10 * MIB},
        2: {"dram": 20 * MIB, "pmem": 15 * MIB, "cxl": 5 * MIB},
        3: {"dram": 10 * MIB, "cxl": 10 * MIB},
    }
    again = make_room({2: changed[2]}, "dram", 5 * MIB, {"cxl": 1 << 40}, TIERS, {})
    assert len(again[2].degraded) == 1


@pytest.mark.parametrize("tier", ["cxl", "pmem"])
def test_nothing_gives_way_where_nothing_slower_has_room(tier):
    held = {1: Plan((Part("CAP", MIB, {tier: MIB}),))}
    assert make_room(held, tier, MIB, {}, TIERS, {}) == {}


@given(plans(), SIZES, SIZES)
def test_lat_and_shl_share_a_tier_in_proportion_and_keep_their_pins(held, wanted, idle):
    gives = beyond_share(held, "dram", wanted, idle)
    of = {job: [part for part in plan.parts if part.memory_class in TAKES_ROOM] for job, plan in held.items()}
    have = {job: sum(part.tiers.get("dram", 0) for part in parts) for job, parts in of.items()}
    for job, parts in of.items():
        assert 0 <= gives[job] <= have[job] - sum(min(part.pinned, part.tiers.get("dram", 0)) for part in parts)
    total = wanted + sum(part.size for parts in of.values() for part in parts)
    if total:
        its = min(wanted, (idle + sum(have.values())) * wanted // total)
        pinned = sum(part.pinned for parts in of.values() for part in parts)
        assert idle + sum(gives.values()) >= its - pinned - len(held) - 1
    changed = make_room(held, "dram", sum(gives.values()), {"cxl": 1 << 60}, TIERS, gives)
    assert sum(held[job].tiers.get("dram", 0) - plan.tiers.get("dram", 0) for job, plan in changed.items()) == sum(
        gives.values()
    )


def test_a_new_lat_job_gets_its_share_of_what_running_ones_have():
    held = {
        1: Plan((Part("LAT", 120 * MIB, {"dram": 120 * MIB}, pinned=30 * MIB),)),
        2: Plan((Part("LAT", 60 * MIB, {"dram": 60 * MIB}, pinned=30 * MIB), Part("CAP", MIB, {"cxl": MIB}))),
        3: Plan((Part("BW", 60 * MIB, {"dram": 60 * MIB}),)),
    }
    gives = beyond_share(held, "dram", 60 * MIB, 20 * MIB)
    assert gives == {1: 20 * MIB, 2: 10 * MIB, 3: 0}  # 200 MiB for 120, 60 and 60
    changed = make_room(held, "dram", 90 * MIB, {"pmem": 1 << 40}, TIERS, gives)
    assert {job: plan.tiers["dram"] // MIB for job, plan in changed.items() if "dram" in plan.tiers} == {1: 100, 2: 50}
    assert changed[3].tiers == {"pmem": 60 * MIB}

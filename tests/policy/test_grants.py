"""Where a range goes by its hint: what adds up, which tiers are meant, what is said where there is no room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.directive import CLASSES
from tierwise.units import GIB
from tierwise_policy.allocation import TierRoom
from tierwise_policy.grants import Hint, grant, parse_hint

BANDWIDTH = {"dram": 200, "pmem": 100, "cxl": 30}


def rooms(**room: int) -> list[TierRoom]:
    """Tiers, fastest first, with so many bytes of room; what is not named has plenty."""
    return [TierRoom(name, room.get(name, 1 << 50), bandwidth, 0) for name, bandwidth in BANDWIDTH.items()]


@pytest.mark.parametrize(
    ("hint", "parts", "spread"),
    [
        ("LAT", {"dram": 330}, False),
        ("SHL", {"dram": 330}, False),
        ("LAT,SHL", {"dram": 330}, False),
        ("CAP", {"cxl": 330}, False),
        ("LAT,CAP", {"pmem": 330}, False),
        ("BW", {"dram": 200, "pmem": 100, "cxl": 30}, True),
        ("LAT,BW", {"dram": 220, "pmem": 110}, True),
        ("SHL,BW,LAT", {"dram": 220, "pmem": 110}, True),
        ("BW,CAP", {"pmem": 253, "cxl": 77}, True),
        ("LAT,BW,CAP", {"pmem": 330}, False),
        ("tier:pmem", {"pmem": 330}, False),
    ],
)
def test_a_hint_means_its_tiers(hint: str, parts: dict[str, int], spread: bool) -> None:
    given_ = grant(parse_hint(hint), 330, rooms())
    assert (dict(given_.parts), given_.spread, given_.unplaced, given_.degraded) == (parts, spread, 0, "")


def test_what_does_not_fit_goes_to_the_nearest_other_tier_and_is_said() -> None:
    near = grant(parse_hint("LAT"), 4 * GIB, rooms(dram=GIB, pmem=GIB))
    assert dict(near.parts) == {"dram": GIB, "pmem": GIB, "cxl": 2 * GIB}
    on_pmem, on_cxl = near.degraded.split("; ")
    assert on_pmem == "1 GiB of 4 GiB on pmem, their own tier has no more room"
    assert on_cxl == "2 GiB of 4 GiB on cxl, their own tier has no more room"
    none = grant(parse_hint("CAP"), 4 * GIB, rooms(dram=GIB, pmem=0, cxl=GIB))
    assert (dict(none.parts), none.unplaced) == ({"cxl": GIB, "dram": GIB}, 2 * GIB)
    assert "2 GiB of 4 GiB fit on no tier" in none.degraded


@given(
    st.frozensets(st.sampled_from(CLASSES)),
    st.integers(1, 1 << 40),
    st.lists(st.tuples(st.integers(-10, 1 << 40), st.integers(0, 10**12)), min_size=1, max_size=4),
)
def test_parts_add_up_and_no_tier_gives_more_than_it_has(
    flags: frozenset[str], size: int, tiers: list[tuple[int, int]]
) -> None:
    node = [TierRoom(f"t{number}", room, bandwidth, 0) for number, (room, bandwidth) in enumerate(tiers)]
    found = grant(Hint(flags), size, node)  # type: ignore[arg-type]
    assert sum(part for _, part in found.parts) + found.unplaced == size
    assert all(0 < part <= next(room.evictable for room in node if room.name == tier) for tier, part in found.parts)
    if found.unplaced:
        assert sum(part for _, part in found.parts) == sum(max(room.evictable, 0) for room in node)


@pytest.mark.parametrize("text", ["FAST", "LAT,", ",", "lat", "LAT;BW"])
def test_what_is_no_hint(text: str) -> None:
    with pytest.raises(ValueError, match="no memory class"):
        parse_hint(text)


def test_a_tier_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no tier 'gold' here: there are dram, pmem, cxl"):
        grant(parse_hint("tier:gold"), 1, rooms())

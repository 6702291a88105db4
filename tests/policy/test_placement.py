"""A plan beside what was found: targets, agreement, corrections; and interleave weights."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.directive import parse_directive
from tierwise.plans import Plan
from tierwise.units import MIB
from tierwise_policy.allocation import TierRoom, allocate
from tierwise_policy.interleave import weights
from tierwise_policy.placement import agrees, corrections, targets
from tierwise_policy.sizes import resolve

TIERS = ("dram", "pmem", "cxl")
ROOMS = tuple(
    TierRoom(name, 1000 * MIB, bandwidth, 1000 * MIB) for name, bandwidth in zip(TIERS, (200, 100, 30), strict=True)
)


def plan(directive: str, memory: int = 660) -> Plan:
    return allocate(resolve(parse_directive(directive), memory * MIB, explicit=True), ROOMS)


def mib(*sizes: int) -> dict[str, int]:
    return {tier: size * MIB for tier, size in zip(TIERS, sizes, strict=True)}


@pytest.mark.parametrize(
    ("directive", "found", "expected"),
    [
        ("lat", (0, 0, 330), (330, 0, 0)),
        ("cap", (330, 0, 0), (0, 0, 330)),
        ("bw", (330, 0, 0), (200, 100, 30)),
        ("lat:64M,cap", (300, 0, 0), (64, 0, 236)),
        ("lat:64M,cap", (30, 0, 10), (40, 0, 0)),
        ("cap", (100, 0, 660), (100, 0, 660)),  # 100 MiB beyond its plan are left where they are
    ],
)
def test_targets(directive, found, expected):
    assert targets(plan(directive), mib(*found), TIERS) == mib(*expected)


@pytest.mark.parametrize(
    ("directive", "found", "expected"),
    [
        ("lat", (290, 0, 10), True),
        ("lat", (280, 0, 20), False),
        ("cap", (10, 0, 290), True),
        ("bw", (180, 95, 25), True),
        ("bw", (300, 0, 0), False),
        ("lat:64M,cap", (67, 0, 233), True),
        ("lat:64M,cap", (68, 0, 232), False),  # within 5 % of each part's size, not of the whole
        ("lat", (0, 0, 0), None),
    ],
)
def test_agreement(directive, found, expected):
    assert agrees(plan(directive), mib(*found), TIERS) is expected


def test_no_plan_agrees_with_nothing():
    assert agrees(None, mib(300, 0, 0), TIERS) is None


@given(
    st.sampled_from(["lat", "cap", "bw", "shl", "lat:64M,cap", "lat:10%,bw:50%,cap", "bw:1M"]),
    st.tuples(*[st.integers(min_value=0, max_value=2000 * MIB)] * 3),
)
def test_corrections_end_in_agreement_and_lose_no_byte(directive, sizes):
    wanted, found = plan(directive), dict(zip(TIERS, sizes, strict=True))
    total = sum(found.values())
    assert sum(targets(wanted, found, TIERS).values()) == total
    for move in corrections(wanted, found, TIERS):
        assert move.size > 0
        found[move.source] -= move.size
        found[move.target] += move.size
    assert min(found.values()) >= 0
    assert sum(found.values()) == total
    assert agrees(wanted, found, TIERS) is not False
    assert corrections(wanted, found, TIERS) == ()


@pytest.mark.parametrize(("bandwidths", "expected"), [((200, 100, 30), (6, 3, 1)), ((5, 5), (1, 1)), ((7,), (1,))])
def test_weights(bandwidths, expected):
    assert weights(bandwidths) == expected


@given(st.lists(st.integers(min_value=10**8, max_value=10**12), min_size=1, max_size=8))
def test_weights_fit_the_kernels_byte(bandwidths):
    assert all(1 <= weight <= 255 for weight in weights(bandwidths))

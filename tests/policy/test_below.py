"""What is paged out below the slowest tier: the coldest, no more than is short, nothing that is LAT, pinned or hot."""

import numpy as np

from tierwise.plans import Part, Plan
from tierwise.units import GIB, MIB
from tierwise_policy.below import COLD_FOR, paged_out
from tierwise_policy.heat import RANGE
from tierwise_policy.holdings import Holding, Level
from tierwise_policy.movement import HUGE, PAGE
from tierwise_policy.recent import LANDED, Recent

AREA = 8 * MIB
ALL = 1 << 40


def holding(ages: list[float], heats: list[float] | None = None, plan: Plan | None = None, **more: bool) -> Holding:
    """A job of areas on the slowest of two tiers."""
    ranges = np.zeros(len(ages), RANGE)
    ranges["pid"], ranges["age"], ranges["heat"] = 7, ages, heats or [0.0] * len(ages)
    ranges["start"] = np.arange(len(ages)) * AREA
    ranges["end"] = ranges["start"] + AREA
    located = np.zeros((len(ages), 2), np.int64)
    located[:, 1] = AREA
    return Holding(1, plan, ranges, located, **{"trusted": True, **more})


def levels(lacks: int, dram_lacks: int = -GIB) -> list[Level]:
    return [
        Level("dram", 80, 200 * GIB, GIB - dram_lacks, GIB),
        Level("cxl", 300, 30 * GIB, GIB - lacks, GIB),
    ]


def areas(*holdings: Holding, lacks: int = GIB, recent: Recent | None = None) -> list[int]:
    moves = paged_out(holdings, levels(lacks), recent or Recent(), ALL)
    assert all((move.source, move.target, move.why) == (1, 2, "cold") for move in moves)
    return [move.start // AREA for move in moves]


def test_the_longest_unused_goes_first_and_what_was_used_lately_stays():
    used, lately = [0.0, 0.0, 0.5], [COLD_FOR * 2, COLD_FOR - 1, COLD_FOR * 3]
    assert areas(holding([COLD_FOR, COLD_FOR * 4, *lately], [0.0, 0.001, *used])) == [1, 2, 0]
    assert areas(holding([COLD_FOR * 2], trusted=False)) == []


def test_as_much_goes_as_is_short_there_or_above_and_as_may():
    cold = holding([COLD_FOR * 2] * 4)
    size = lambda *level, most=ALL: sum(move.size for move in paged_out([cold], levels(*level), Recent(), most))  # noqa: E731
    assert size(0) == 0
    assert size(PAGE) == HUGE
    assert size(AREA + PAGE) == AREA + PAGE
    assert size(0, AREA) == AREA
    assert size(-GIB, AREA) == 0
    assert size(GIB, most=3 * MIB + 5) == 3 * MIB


def test_lat_and_pinned_parts_never_go():
    pinned = Part("SHL", AREA, {"dram": AREA}, pinned=AREA)
    plan = Plan((Part("LAT", AREA, {"dram": AREA}), pinned, Part("CAP", 2 * AREA, {"cxl": 2 * AREA})))
    assert areas(holding([COLD_FOR * 2] * 4, plan=plan)) == [2, 3]
    half = holding([COLD_FOR * 2] * 4, plan=plan)
    half.located[3] = [AREA, 0]  # equally cold: what is on the faster tier is the LAT part
    assert areas(half) == [1, 2]
    assert areas(holding([COLD_FOR * 2] * 4, plan=Plan((Part("LAT", GIB, {"dram": GIB}),)))) == []


def test_what_was_tried_in_vain_rests_and_what_no_tracker_saw_stays():
    unseen = holding([COLD_FOR * 2] * 2)
    unseen.ranges["pid"][1] = 0
    assert areas(unseen) == [0]
    tried = Recent(np.array([(7, 0, AREA, 1, 0.0)], LANDED))
    assert areas(holding([COLD_FOR * 2] * 2), recent=tried) == [1]

"""Movement's invariants (ALGORITHMS 7, 8 and Movement), on simulated tiers that carry the moves out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.plans import Part, Plan
from tierwise.units import GIB, MIB
from tierwise_policy.heat import RANGE
from tierwise_policy.holdings import Holding, Level, pinned_bytes
from tierwise_policy.movement import HUGE, PAGE, Move, decide
from tierwise_policy.recent import LANDED, SETTLED, Recent
from tierwise_policy.smoothing import smoothed

NAMES, LATENCIES = ("dram", "pmem", "cxl"), (80, 140, 300)
BANDWIDTHS = (200 * GIB, 100 * GIB, 30 * GIB)
FAST = 1 << 40
AREA = 8 * MIB
MARGIN = 2 * MIB


class Machine:
    """Tiers and jobs in areas of AREA bytes; carries moves out as the kernel would and keeps the books."""

    def __init__(self, free: tuple[int, int, int], margin: int = MARGIN, demotes: bool = False) -> None:
        self.free, self.margin, self.demotes = list(free), margin, demotes
        self.jobs: dict[int, Holding] = {}
        self.recent, self.now = Recent(), 0.0
        self.moved: list[Move] = []

    def add(self, job_id: int, heats: list[float], where: list[int], plan: Plan | None = None, **more: bool) -> None:
        """A job with one area for each heat, on the tier in `where`."""
        ranges = np.zeros(len(heats), RANGE)
        ranges["pid"], ranges["heat"], ranges["age"] = job_id, heats, 10
        ranges["start"] = np.arange(len(heats)) * AREA
        ranges["end"] = ranges["start"] + AREA
        located = np.zeros((len(heats), 3), np.int64)
        located[np.arange(len(heats)), where] = AREA
        self.jobs[job_id] = Holding(job_id, plan, ranges, located, **{"trusted": True, **more})

    def heat(self, job_id: int, heats: list[float]) -> None:
        """The job uses other areas from now on."""
        self.jobs[job_id].ranges["heat"] = heats

    @property
    def levels(self) -> list[Level]:
        rows = zip(NAMES, LATENCIES, BANDWIDTHS, self.free, strict=True)
        return [Level(*row, self.margin, self.demotes) for row in rows]

    def beat(self, limit: int = FAST, seconds: float = 1.0) -> list[Move]:
        """One decision, carried out."""
        self.now += seconds
        self.recent = self.recent.add(self.now, np.empty(0, LANDED))
        cut = [self._cut(each) for each in self.jobs.values()]
        moves = list(decide(cut, self.levels, self.recent, limit).moves)
        for move in moves:
            self._carry_out(move)
        self.moved += moves
        return moves

    def on(self, job_id: int, tier: int) -> int:
        """Bytes of a job on a tier."""
        return int(self.jobs[job_id].located[:, tier].sum())

    def hot_on(self, job_id: int, tier: int) -> int:
        """Bytes of a job's hot areas on a tier."""
        each = self.jobs[job_id]
        return int(each.located[each.ranges["heat"] > 0.5, tier].sum())

    def _cut(self, each: Holding) -> Holding:
        pieces = self.recent.cut(each.ranges)
        area = (pieces["start"] // AREA).astype(int)
        part = (pieces["end"] - pieces["start"]) / AREA
        located = (each.located[area] * part[:, None]).astype(np.int64)
        return replace(each, ranges=pieces, located=located)

    def _carry_out(self, move: Move) -> None:
        each = self.jobs[move.job_id]
        area = move.start // AREA
        size = min(move.size, int(each.located[area, move.source]), self.free[move.target])
        each.located[area, move.source] -= size
        each.located[area, move.target] += size
        self.free[move.source] += size
        self.free[move.target] -= size
        landed = np.array([(move.pid, move.start, move.end, move.target, self.now)], LANDED)
        self.recent = self.recent.add(self.now, landed)


def lat(size: int, pinned: int = 0) -> Plan:
    return Plan((Part("LAT", size, {"dram": size}, pinned=pinned),))


def mixed(fast: int, slow: int, pinned: int = 0) -> Plan:
    return Plan((Part("LAT", fast, {"dram": fast}, pinned=pinned), Part("CAP", slow, {"cxl": slow})))


def test_the_hot_set_of_a_mixed_plan_ends_in_dram_and_stays_there():
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.0] * 5 + [0.9] * 5, [0] * 5 + [2] * 5, mixed(5 * AREA, 5 * AREA))
    machine.beat()
    assert machine.hot_on(1, 0) == 5 * AREA == machine.on(1, 0)
    assert machine.on(1, 2) == 5 * AREA
    assert machine.beat() == []


def test_a_jump_of_the_hot_set_is_followed_within_the_limit():
    machine = Machine((8 * MIB, GIB, GIB))
    machine.add(1, [0.9] * 10 + [0.0] * 30, [0] * 10 + [2] * 30, mixed(10 * AREA, 30 * AREA))
    assert machine.beat() == []
    machine.now += SETTLED
    machine.heat(1, [0.0] * 30 + [0.9] * 10)
    beats = 0
    while machine.hot_on(1, 0) < 0.95 * 10 * AREA:
        assert sum(move.size for move in machine.beat(10 * MIB) if move.target == 0) <= 10 * MIB
        beats += 1
    assert beats <= 2 * 10 * AREA / (10 * MIB)
    assert machine.on(1, 0) - machine.hot_on(1, 0) <= AREA


def test_without_a_plan_the_hot_set_is_predicted_and_shares_what_is_free():
    machine = Machine((6 * AREA + MARGIN, GIB, GIB))
    machine.add(1, [0.9] * 4 + [0.0] * 8, [2] * 12)
    machine.add(2, [0.9] * 8 + [0.0] * 16, [2] * 24)
    machine.beat()
    assert (machine.on(1, 0), machine.on(2, 0)) == (2 * AREA, 4 * AREA)
    assert machine.hot_on(1, 0) == 2 * AREA
    assert machine.free[0] == MARGIN
    assert machine.beat() == []


def test_cold_memory_leaves_dram_when_others_want_it_and_only_then():
    machine = Machine((MARGIN, GIB, GIB))
    machine.add(1, [0.9] + [0.0] * 9, [0] * 10)
    assert machine.beat() == []
    machine.add(2, [0.9] * 5 + [0.0] * 15, [2] * 20)
    machine.beat()
    assert machine.hot_on(2, 0) == 5 * AREA
    assert machine.hot_on(1, 0) == AREA
    assert machine.free[0] >= MARGIN


def test_a_job_that_uses_all_of_its_memory_alike_is_not_predicted():
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.9] * 10, [2] * 10)
    assert machine.beat() == []


def test_nothing_is_promoted_on_heat_that_is_not_trusted():
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.9] * 3 + [0.0] * 7, [2] * 10, trusted=False)
    assert machine.beat() == []


def test_a_suspended_job_gives_way_first():
    machine = Machine((0, GIB, GIB))
    machine.add(1, [0.9] * 2 + [0.0] * 8, [0] * 10)
    machine.add(2, [0.9] * 2 + [0.0] * 8, [0] * 10, suspended=True)
    machine.beat()
    assert machine.on(1, 0) == 10 * AREA
    assert machine.on(2, 0) == 10 * AREA - MARGIN


def test_the_margin_is_kept_by_cap_before_bw_before_lat():
    machine = Machine((0, GIB, GIB), margin=2 * AREA)
    machine.add(1, [0.0] * 4, [0] * 4, lat(4 * AREA))
    machine.add(2, [0.0] * 4, [0] * 4, Plan((Part("BW", 4 * AREA, {"dram": 4 * AREA}),)))
    machine.add(3, [0.0] * 1, [0] * 1, Plan((Part("CAP", AREA, {"dram": AREA}),)))
    machine.beat()
    assert [machine.on(job, 0) for job in (1, 2, 3)] == [4 * AREA, 3 * AREA, 0]


def test_idle_lat_gives_way_before_bw_in_use():
    machine = Machine((0, GIB, GIB), margin=AREA)
    machine.add(1, [0.0] * 4, [0] * 4, lat(4 * AREA, pinned=2 * AREA))
    machine.add(2, [0.9] * 4, [0] * 4, Plan((Part("BW", 4 * AREA, {"dram": 4 * AREA}),)))
    machine.beat()
    assert [machine.on(job, 0) for job in (1, 2)] == [3 * AREA, 4 * AREA]


def test_a_broken_pin_is_repaired_first_and_may_use_the_margin():
    machine = Machine((MARGIN, GIB, GIB))
    machine.add(1, [0.5] * 4, [0, 0, 2, 2], lat(4 * AREA, pinned=4 * AREA))
    machine.add(2, [0.1] * 8, [0] * 8)
    moves = machine.beat()
    assert machine.on(1, 0) == 4 * AREA
    assert {move.why for move in moves if move.job_id == 1} == {"pin repaired"}


def test_what_is_hot_beyond_a_broken_pin_is_no_repair():
    machine = Machine((4 * AREA, GIB, GIB), margin=AREA)
    machine.add(1, [0.9] * 5 + [0.0] * 7, [2] * 12, mixed(2 * AREA, 10 * AREA, pinned=2 * AREA))
    moves = machine.beat()
    its = [(move.why, move.size) for move in moves if move.target == 0]
    sizes = {why: sum(size for each, size in its if each == why) for why in ("pin repaired", "hot")}
    assert sizes == {"pin repaired": 2 * AREA, "hot": AREA}
    assert machine.free[0] == AREA


def test_idle_room_is_lent_to_what_is_hot_beyond_its_plan():
    machine = Machine((4 * AREA + MARGIN, GIB, GIB))
    machine.add(1, [0.9] * 2, [0] * 2, lat(6 * AREA))  # promised six areas, uses two
    machine.add(2, [0.9] * 3 + [0.0] * 9, [2] * 12, Plan((Part("CAP", 12 * AREA, {"cxl": 12 * AREA}),)))
    machine.add(3, [0.9] * 3 + [0.0] * 9, [2] * 12, mixed(AREA, 11 * AREA))
    machine.beat()
    assert (machine.hot_on(1, 0), machine.on(1, 0)) == (2 * AREA, 2 * AREA)
    for job_id, its in ((2, 3 * 3 * AREA // 5), (3, AREA + 2 * 3 * AREA // 5)):  # plans first, the rest in proportion
        assert machine.hot_on(job_id, 0) == machine.on(job_id, 0) == pytest.approx(its, abs=PAGE)
    assert machine.beat() == []


def test_a_jump_right_after_a_promotion_is_followed_into_idle_room():
    machine = Machine((8 * AREA, GIB, GIB))
    machine.add(1, [0.9] * 3 + [0.0] * 10, [2] * 13, mixed(2 * AREA, 11 * AREA))
    machine.beat()
    machine.heat(1, [0.0] * 10 + [0.9] * 3)
    machine.beat()
    assert (machine.hot_on(1, 0), machine.on(1, 0)) == (3 * AREA, 6 * AREA)
    machine.beat(seconds=SETTLED + 1)
    assert (machine.hot_on(1, 0), machine.on(1, 0)) == (3 * AREA, 3 * AREA)


def test_what_was_lent_is_given_back_when_its_owner_grows():
    machine = Machine((3 * AREA + MARGIN, GIB, GIB))
    machine.add(1, [0.9] * 2, [0] * 2, lat(6 * AREA))
    machine.add(2, [0.9] * 3 + [0.0] * 9, [2] * 12, Plan((Part("CAP", 12 * AREA, {"cxl": 12 * AREA}),)))
    machine.beat()
    assert machine.hot_on(2, 0) == 3 * AREA
    machine.now += SETTLED
    machine.add(1, [0.9] * 5, [0] * 2 + [1] * 3, lat(6 * AREA))  # three areas more, for which DRAM had no room
    machine.beat()
    assert (machine.on(1, 0), machine.on(2, 0)) == (5 * AREA, 0)
    assert machine.beat() == []


def test_what_waits_for_its_own_tier_stays_in_idle_room_until_another_needs_it():
    machine = Machine((2 * AREA + MARGIN, GIB, GIB))
    waiting = Plan((Part("LAT", 4 * AREA, {"pmem": 4 * AREA}),))
    machine.add(1, [0.9] * 4, [0] * 4, waiting)
    assert machine.beat() == []
    machine.add(2, [0.9] * 4, [1] * 4, lat(4 * AREA))
    machine.beat()
    assert (machine.on(1, 0), machine.on(1, 1), machine.on(2, 0)) == (2 * AREA, 2 * AREA, 4 * AREA)


def test_cold_memory_does_not_come_in_the_stead_of_hot_memory_that_stays():
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.9] * 2 + [0.0] * 8, [2] * 10)
    machine.recent = machine.recent.add(0.0, np.array([(1, 0, 2 * AREA, 2, 0.0)], LANDED))
    assert machine.beat() == []
    machine.beat(seconds=SETTLED + 1)
    assert (machine.hot_on(1, 0), machine.on(1, 0)) == (2 * AREA, 2 * AREA)


@pytest.mark.parametrize(
    ("limit", "sizes"), [(AREA + HUGE, [AREA, HUGE]), (AREA + HUGE // 2, [AREA]), (HUGE // 2, [HUGE // 2])]
)
def test_the_limit_cuts_no_move_to_less_than_a_huge_page_unless_it_is_less_itself(limit, sizes):
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.9] * 2 + [0.0] * 8, [2] * 10)
    assert [move.size for move in machine.beat(limit)] == sizes


def test_jobs_that_a_limit_gives_less_than_a_huge_page_each_take_turns():
    machine = Machine((GIB, GIB, GIB))
    for job_id in range(1, 9):
        machine.add(job_id, [0.9] + [0.0] * 3, [2] * 4)
    for _ in range(16):
        assert sum(move.size for move in machine.beat(limit=2 * HUGE)) == 2 * HUGE
    assert [machine.on(job_id, 0) for job_id in range(1, 9)] == [AREA] * 8


def test_what_finds_no_room_keeps_nothing_that_makes_room_from_the_limit():
    machine = Machine((AREA + AREA // 2, 0, 0), margin=0)
    machine.add(1, [0.0] * 10, [0] * 9 + [1], lat(10 * AREA), trusted=False)
    machine.add(2, [0.0] * 8, [0] * 6 + [2, 1], lat(8 * AREA))
    for _ in range(4):
        machine.beat(limit=AREA)
    assert machine.free[0] < HUGE


def test_what_a_young_mixed_job_lacks_waits_for_its_heat_and_takes_nobodys_turn():
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.0] * 4, [2] * 4, mixed(2 * AREA, 2 * AREA, pinned=2 * AREA), trusted=False, young=True)
    machine.add(2, [0.9] * 2 + [0.0] * 8, [2] * 10)
    machine.beat(limit=2 * AREA)
    assert (machine.on(1, 0), machine.on(2, 0)) == (0, 2 * AREA)
    machine.add(1, [0.0] * 4, [2] * 4, machine.jobs[1].plan, trusted=False, young=True, robbed=True)
    machine.beat()
    assert machine.on(1, 0) == 2 * AREA


def test_a_young_mixed_job_waits_for_its_heat_unless_room_is_short():
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.0] * 8, [0] * 8, mixed(2 * AREA, 6 * AREA), trusted=False, young=True)
    assert machine.beat() == []
    machine.free[0] = MARGIN
    machine.add(2, [0.9] * 3, [2] * 3, lat(3 * AREA))
    machine.beat()
    assert (machine.on(1, 0), machine.on(2, 0)) == (5 * AREA, 3 * AREA)
    machine.add(1, [0.0] * 8, [0] * 5 + [2] * 3, mixed(2 * AREA, 6 * AREA), trusted=False)
    machine.beat()
    assert machine.on(1, 0) == 2 * AREA


def test_the_margin_of_what_young_jobs_have_is_left_to_a_kernel_that_demotes():
    for demotes, left in ((True, 4 * AREA), (False, 2 * AREA)):
        machine = Machine((0, GIB, GIB), margin=2 * AREA, demotes=demotes)
        machine.add(1, [0.0] * 4, [0] * 4, mixed(AREA, 3 * AREA), trusted=False, young=True)
        machine.beat()
        assert machine.on(1, 0) == left
        machine.add(2, [0.9], [2], lat(AREA))  # a plan's bytes that wait for room are another matter
        machine.beat()
        assert (machine.on(1, 0), machine.on(2, 0)) == (AREA, AREA)


def test_memory_that_nobody_tracks_is_moved_by_its_plan():
    machine = Machine((GIB, GIB, GIB))
    machine.add(1, [0.0] * 4, [0] * 4, Plan((Part("CAP", 4 * AREA, {"cxl": 4 * AREA}),)), trusted=False)
    machine.beat()
    assert machine.on(1, 2) == 4 * AREA


# --- properties -----------------------------------------------------------------------------------------------------

HEATS = st.sampled_from([0.0, 0.01, 0.2, 0.5, 0.9, 1.0])


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    free = st.integers(0, 20).map(lambda areas: areas * AREA // 2)
    margin = draw(st.sampled_from([0, MARGIN, 3 * AREA]))
    machine = Machine((draw(free), draw(free), draw(free)), margin, draw(st.booleans()))
    for job_id in range(1, draw(st.integers(1, 4)) + 1):
        areas = draw(st.lists(st.tuples(HEATS, st.integers(0, 2)), min_size=1, max_size=12))
        size = len(areas) * AREA
        fast = draw(st.integers(0, size // AREA)) * AREA
        plan = draw(
            st.sampled_from(
                [
                    None,
                    lat(size, pinned=fast),
                    mixed(fast, size - fast, pinned=fast // 2),
                    Plan((Part("CAP", size, {"cxl": size}),)),
                    Plan((Part("BW", size, {"dram": size // 2, "pmem": size // 4, "cxl": size - size * 3 // 4}),)),
                    Plan((Part("LAT", size * 2, {"dram": fast, "pmem": size * 2 - fast}),)),
                    Plan((Part("BW", size, {"cxl": size}),)),
                ]
            )
        )
        trusted = draw(st.booleans())
        flags = {"trusted": trusted, "suspended": draw(st.booleans()), "young": not trusted and draw(st.booleans())}
        machine.add(job_id, [heat for heat, _ in areas], [tier for _, tier in areas], plan, **flags)
    return machine


@given(machines(), st.sampled_from([AREA, 4 * AREA, 1 << 40]))
@settings(max_examples=100, deadline=None)
def test_moves_are_whole_pages_that_are_there_and_keep_to_the_limit(machine, limit):
    jobs = {job_id: each.located.copy() for job_id, each in machine.jobs.items()}
    moves = machine.beat(limit)
    for direction in (1, -1):
        assert sum(move.size for move in moves if (move.source - move.target) * direction > 0) <= limit
    for move in moves:
        assert move.size > 0
        assert move.size % PAGE == 0
        assert move.source != move.target
        jobs[move.job_id][move.start // AREA, move.source] -= move.size
        jobs[move.job_id][move.start // AREA, move.target] += move.size
    assert all((located >= 0).all() for located in jobs.values())
    assert min(machine.free) >= 0


@given(machines())
@settings(max_examples=100, deadline=None)
def test_a_pinned_part_is_never_a_victim(machine):
    before = {job_id: min(machine.on(job_id, 0), pinned_bytes(each)) for job_id, each in machine.jobs.items()}
    for _ in range(3):
        machine.beat()
        for job_id, size in before.items():
            assert machine.on(job_id, 0) >= size


@given(machines(), st.sampled_from([AREA, 1 << 40]))
@settings(max_examples=40, deadline=None)
def test_it_comes_to_rest_while_heat_stays_and_no_page_moves_twice(machine, limit):
    left = {job_id: [] for job_id in machine.jobs}
    for _ in range(int(SETTLED) - 1):
        for move in machine.beat(limit):
            earlier = [(start, end) for start, end, target in left[move.job_id] if target == move.source]
            assert not any(start < move.end and move.start < end for start, end in earlier)
            left[move.job_id].append((move.start, move.end, move.target))
    machine.jobs = {job_id: replace(each, young=False) for job_id, each in machine.jobs.items()}  # none is for ever
    for _ in range(10):
        machine.beat(seconds=SETTLED + 1)
    assert machine.beat(seconds=SETTLED + 1) == []


@given(machines())
@settings(max_examples=100, deadline=None)
def test_no_promotion_takes_a_margin_but_to_repair_a_pin(machine):
    before = list(machine.free)
    moves = machine.beat()
    for tier, free in enumerate(machine.free):
        arrivals = [move for move in moves if move.target == tier]
        if arrivals and all(move.why != "pin repaired" for move in arrivals):
            assert free >= min(before[tier], machine.margin)


@pytest.mark.parametrize("seconds", [1.0, SETTLED / 2])
def test_what_has_just_arrived_stays(seconds):
    machine = Machine((5 * AREA + MARGIN, GIB, GIB))
    machine.add(1, [0.9] * 4 + [0.0] * 8, [2] * 12)
    machine.beat()
    machine.heat(1, [0.0] * 8 + [0.9] * 4)
    machine.beat(seconds=seconds)
    assert {move.start // AREA for move in machine.moved if move.target != 0} == set()
    machine.beat(seconds=SETTLED)
    assert machine.hot_on(1, 0) == 4 * AREA


def heated(*pieces: tuple[int, int, int, float]) -> np.ndarray:
    return np.array([(pid, start, end, heat, 1) for pid, start, end, heat in pieces], RANGE)


def test_heat_is_smoothed_over_windows_whatever_their_ranges() -> None:
    before = heated((1, 0, 100, 1.0), (1, 200, 300, 0.0), (2, 0, 100, 0.4))
    now = heated((1, 0, 50, 0.0), (1, 50, 150, 1.0), (1, 200, 300, 1.0), (2, 50, 100, 0.4), (3, 0, 10, 0.7))
    assert smoothed(now, before)["heat"] == pytest.approx([0.5, 1.0, 0.5, 0.4, 0.7])
    assert (smoothed(now, before[:0])["heat"] == now["heat"]).all()
    assert (smoothed(now, before)["start"] == now["start"]).all()

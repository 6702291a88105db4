"""Which pages move next, where to, and why (chapter 8; ALGORITHMS, Movement).

Each job's memory is ranked by heat and fills its quotas of the tiers, hottest first and fastest first. What is not
where this puts it moves: promotions by the latency that they save against what a move costs, room made before they
come, all within a limit of bytes each way. Two things keep a page from bouncing: it must be hotter by STAYS to take
another's place, and what has just arrived stays (recent).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tierwise_policy.heat import Ranges, hottest, sizes
from tierwise_policy.holdings import Bytes, Holding, Level, pinned_bytes
from tierwise_policy.quotas import Quotas, quotas
from tierwise_policy.recent import Recent
from tierwise_policy.replacement import share

STAYS = 0.25
"""A range on the fastest tier counts as hotter by this part of the job's mean hot range, and takes its place only
from one that is colder by more: heat is an estimate."""
SEEN_PER_SECOND = 10
"""Accesses a second that a page with heat 1 has at least: trackers look each 100 ms, and see one access a look."""
HORIZON = (10.0, 60.0)
"""Seconds for which heat is believed to last: as long as it has lasted, within these bounds."""
KERNEL_NS = 1200
"""What moving a page costs besides its copy: page tables, flushes, the list that it is taken from."""
PAGE = 4096
HUGE = 2 << 20
"""A huge page moves whole or not at all: a larger move is not cut to less, but waits for the next beat."""
REPAIR = "pin repaired"


@dataclass(frozen=True)
class Move:
    """Move at most `size` bytes in [start, end) of process `pid` from one tier to another (numbers, 0: the fastest).

    Process 0: any pages of the job, whose heat nobody knows.
    """

    job_id: int
    pid: int
    start: int
    end: int
    source: int
    target: int
    size: int
    why: str


@dataclass(frozen=True, eq=False)
class Decision:
    """`moves` in the order in which they are to be made; `lent`: see Quotas."""

    moves: tuple[Move, ...]
    lent: Mapping[int, Bytes]


def decide(holdings: Sequence[Holding], levels: Sequence[Level], recent: Recent, limit: int) -> Decision:
    """The next moves: what makes room comes before what needs it.

    `limit`: bytes to move now at most, each way. `holdings` have ranges that were cut by `recent`. The moves free what
    they need: carried out in order, no tier falls below its margin for a promotion, except to repair a pinned part.
    """
    worth = {each.job_id: pays(each.ranges, levels) for each in holdings}
    stuck = {each.job_id: _stuck(each, recent) for each in holdings}
    quota = quotas(holdings, levels, worth, stuck)
    wanted = [_wanted(each, quota, worth[each.job_id], stuck[each.job_id]) for each in holdings]
    ups: list[Move] = []
    downs: list[Move] = []
    for way, chosen in ((1, ups), (-1, downs)):
        moves = defaultdict[tuple[int, str], list[Move]](list)
        for each, target in zip(holdings, wanted, strict=True):
            if way < 0 or not each.waits:
                missing = quota.broken.get(each.job_id, 0) if way > 0 else 0
                for move in _repairing(_moves(each, target, way, _reason(each, quota, way)), missing):
                    moves[each.job_id, move.why].append(move)
        limits = _limits(moves, limit)
        for name, its in moves.items():
            its.sort(key=lambda move: move.target * way)
            chosen.extend(_within(its, limits[name], min(limit, HUGE)))
    repairs = [move for move in ups if move.why == REPAIR]
    others = [move for move in ups if move.why != REPAIR]
    pageable = {each.job_id: int(each.found[0]) - pinned_bytes(each) for each in holdings}
    return Decision(tuple(_ordered([*repairs, *others], downs, levels, len(repairs), pageable)), quota.lent)


def pays(ranges: Ranges, levels: Sequence[Level]) -> npt.NDArray[np.bool_]:
    """Which ranges save more by being on the fastest tier, for as long as they have been hot, than their move and
    that of what makes room for them cost."""
    saved_ns = levels[-1].latency_ns - levels[0].latency_ns
    accesses = ranges["heat"].astype(np.float64) * SEEN_PER_SECOND * np.clip(ranges["age"], *HORIZON)
    cost_ns = 2 * (KERNEL_NS + PAGE * 1e9 / max(levels[-1].bandwidth, 1))
    worth: npt.NDArray[np.bool_] = accesses * saved_ns > cost_ns
    return worth


def _stuck(holding: Holding, recent: Recent) -> Bytes:
    """What of a job's memory stays where it is: what has just arrived, and of a tracked job what no tracker saw."""
    stays = recent.stuck(holding.ranges, holding.located.shape[1])
    if holding.trusted:
        stays[holding.ranges["pid"] == 0] = True
    stuck: Bytes = np.where(stays, holding.located, np.int64(0))
    return stuck


def _wanted(holding: Holding, quota: Quotas, worth: npt.NDArray[np.bool_], stuck: Bytes) -> Bytes:
    """Bytes of each range on each tier once the job's memory fills its quotas, hottest first; `stuck` bytes stay."""
    located, tiers = holding.located, holding.located.shape[1]
    left = quota.wanted[holding.job_id].copy()
    if (left == holding.found).all() and not holding.trusted:
        return located
    left -= stuck.sum(axis=0)
    for tier in range(tiers - 1):  # what has just arrived beyond a quota takes the place of others, one tier down
        left[tier + 1] += min(int(left[tier]), 0)
        left[tier] = max(int(left[tier]), 0)
    movable = (located - stuck).sum(axis=1)
    order = np.argsort(-_rank(holding, worth), kind="stable")
    ends = np.cumsum(movable[order])
    bounds = np.concatenate([[0], np.cumsum(left)])
    bounds[-1] = max(int(ends[-1]) if len(ends) else 0, int(bounds[-1]))
    filled = stuck.copy()
    for tier in range(tiers):
        low, high = bounds[tier], bounds[tier + 1]
        filled[order, tier] += np.clip(ends, low, high) - np.clip(ends - movable[order], low, high)
    return filled


def _rank(holding: Holding, worth: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Heat in units of the job's mean hot range, and STAYS for standing on a fast tier already."""
    total = np.maximum(holding.located.sum(axis=1), 1)
    tiers = holding.located.shape[1]
    height = np.arange(tiers - 1, -1, -1) / max(tiers - 1, 1)
    standing: npt.NDArray[np.float64] = STAYS * (holding.located @ height) / total
    part = hottest(holding.ranges)
    if not holding.trusted or not len(part):
        return standing
    mean = float(np.average(part["heat"], weights=sizes(part)))
    heat = np.where(worth, np.minimum(holding.ranges["heat"] / mean, 1.0), 0.0)
    rank: npt.NDArray[np.float64] = heat + standing
    return rank


def _moves(holding: Holding, wanted: Bytes, way: int, why: str) -> Iterator[Move]:
    """The moves of one job in one direction (1: promotions, hottest first; -1: demotions, coldest first)."""
    change = wanted - holding.located
    rows = np.flatnonzero((np.abs(change) >= PAGE).any(axis=1))
    heat = holding.ranges["heat"][rows]
    for row in rows[np.argsort(-heat * way, kind="stable")]:
        over = change[row].copy()
        for target in range(len(over)) if way > 0 else range(len(over) - 1, -1, -1):
            sources = range(len(over) - 1, target, -1) if way > 0 else range(target)
            for source in sources:
                size = int(min(-over[source], over[target])) // PAGE * PAGE
                if size > 0:
                    over[source] += size
                    over[target] -= size
                    spot = holding.ranges[row]
                    yield Move(
                        holding.job_id,
                        int(spot["pid"]),
                        int(spot["start"]),
                        int(spot["end"]),
                        source,
                        target,
                        size,
                        why,
                    )


def _reason(holding: Holding, quota: Quotas, way: int) -> str:
    """Why this job's pages go up, or down."""
    by_plan = holding.plan is not None and bool((quota.wanted[holding.job_id] != holding.found).any())
    if way > 0:
        lent = bool((quota.lent[holding.job_id] > 0).any())
        return "plan" if by_plan and not lent else "hot"
    return "suspended" if holding.suspended else "plan" if by_plan else "cold" if holding.trusted else "room"


def _repairing(moves: Iterable[Move], missing: int) -> Iterator[Move]:
    """A job's promotions, of which those that bring the `missing` bytes of its pinned part are repairs: what comes
    beyond it has no claim to go first, nor to a margin. Cut at a huge page's size."""
    for move in moves:
        size = min(-(-missing // HUGE) * HUGE, move.size) if missing > 0 and move.target == 0 else 0
        size += move.size - size if size and move.size - size < HUGE else 0
        missing -= size
        if size:
            yield replace(move, size=size, why=REPAIR)
        if size < move.size:
            yield _cut(move, move.size - size)


def _limits(moves: Mapping[tuple[int, str], Sequence[Move]], limit: int) -> Mapping[tuple[int, str], int]:
    """What of the limit each job may move for each reason: repairs of pinned parts first, the rest in proportion to
    what there is to move.

    Where that is less than a huge page for some, these take turns: their work grows beside that of the others."""
    work = {name: sum(move.size for move in its) for name, its in moves.items()}
    first = share(limit, {name: size for name, size in work.items() if name[1] == REPAIR})
    rest = share(limit - sum(first.values()), {name: size for name, size in work.items() if name not in first})
    limits: dict[tuple[int, str], int] = {}
    for name, size in [pair for group in (first, rest) for pair in sorted(group.items(), key=lambda pair: -pair[1])]:
        least = min(work[name], HUGE, limit)
        limits[name] = _piece(min(max(size, least), limit - sum(limits.values())), least)
    return limits


def _within(moves: Sequence[Move], limit: int, least: int) -> list[Move]:
    """The first moves that fit into a limit, the last of them cut, but not to less than `least`."""
    chosen: list[Move] = []
    for move in moves:
        size = _piece(min(move.size, limit), min(move.size, least))
        if not size:
            break
        chosen.append(_cut(move, size))
        limit -= size
    return chosen


def _piece(size: int, least: int) -> int:
    """Whole pages of `size` bytes; none where that is less than `least`."""
    return max(size, 0) // PAGE * PAGE if size >= least else 0


def _cut(move: Move, size: int) -> Move:
    return replace(move, size=size)


def _ordered(
    ups: Sequence[Move], downs: Sequence[Move], levels: Sequence[Level], repairs: int, pageable: dict[int, int]
) -> Iterator[Move]:
    """Promotions where there is room, and before each one that finds none, demotions that make it.

    The first `repairs` of them are repairs. `pageable`: what each job may lose of the fastest tier before something of
    it has come there; so a pinned part is whole at every moment.
    """
    room = [level.free - level.margin for level in levels]
    waiting = list(downs[::-1])
    for number, move in enumerate(ups):
        reserve = levels[move.target].margin if number < repairs else 0
        while room[move.target] + reserve < move.size and waiting:
            yield from _demote(waiting.pop(), room, pageable)
        if size := _piece(min(move.size, room[move.target] + reserve), min(move.size, HUGE)):
            room[move.target] -= size
            room[move.source] += size
            pageable[move.job_id] += size if move.target == 0 else 0
            yield _cut(move, size)
    while waiting:
        yield from _demote(waiting.pop(), room, pageable)


def _demote(move: Move, room: list[int], pageable: dict[int, int]) -> Iterator[Move]:
    most = pageable[move.job_id] if move.source == 0 else move.size
    if size := _piece(min(move.size, room[move.target], most), min(move.size, HUGE)):
        room[move.target] -= size
        room[move.source] += size
        pageable[move.job_id] -= size if move.source == 0 else 0
        yield _cut(move, size)

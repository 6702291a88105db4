"""How many bytes of each job should be on each tier now: the plans' promises, what is hot, and what must give way.

A job with a plan gets what the plan says of the bytes that it has (placement). A job without one is predicted, window
by window: the smallest set that takes most of its accesses is LAT if it is at most half of the job, the rest is CAP
that may stay where there is room (chapter 8, Algorithm 7; ALGORITHMS 7). What plans promise and nobody uses is lent: to
what waits on a slower tier than its class's (lending), and to what is hot beyond its plan. Where a tier is short, what
was lent gives way first, then jobs by coldness and class (replacement), and never with what is pinned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tierwise.directive import MemoryClass
from tierwise.plans import Plan
from tierwise.tiers import TierName
from tierwise_policy.allocation import TierRoom
from tierwise_policy.heat import Ranges, hot, hottest
from tierwise_policy.lending import kept
from tierwise_policy.placement import corrections, targets
from tierwise_policy.replacement import WEIGHTS, coldness, share, victims

Bytes = npt.NDArray[np.int64]
SUSPENDED = 1000.0
"""A suspended job's memory is colder than any that runs: its pages go first."""
UNKNOWN = 0.5
"""How cold memory is taken for whose heat nobody knows."""


@dataclass(frozen=True, eq=False)
class Holding:
    """One job's memory. `located[i, t]`: bytes of `ranges[i]` on tier t (0: the fastest).

    `trusted` false: the heat can't be believed (or nobody tracks the job, then it is one range of process 0). A tracked
    job has one range of process 0 for what no tracker saw, so that the sums are those of the job.
    """

    job_id: int
    plan: Plan | None
    ranges: Ranges
    located: Bytes
    trusted: bool
    suspended: bool = False
    young: bool = False
    """Its heat can't be believed yet, and may be soon."""

    @property
    def found(self) -> Bytes:
        """Bytes on each tier."""
        return _sum(self.located)


@dataclass(frozen=True)
class Level:
    """One tier, in the order of speed: bytes `free`, of which `margin` should stay free; ns, bytes per second.
    `demotes`: what the kernel reclaims here goes to a slower tier."""

    name: TierName
    latency_ns: int
    bandwidth: int
    free: int
    margin: int
    demotes: bool = False


@dataclass(frozen=True, eq=False)
class Quotas:
    """`wanted[job][t]` bytes on each tier; they add up to what the job has. `lent`: what of them is on a faster tier
    than the job's plan says (and is missing on the slower ones). `broken`: bytes of pinned parts that are not on the
    fastest tier, by job."""

    wanted: dict[int, Bytes]
    lent: dict[int, Bytes]
    broken: dict[int, int]


def quotas(
    holdings: Sequence[Holding],
    levels: Sequence[Level],
    paying: Mapping[int, npt.NDArray[np.bool_]],
    stuck: Mapping[int, Bytes],
) -> Quotas:
    """What each job should have on each tier, as far as that can be reached by moves.

    `paying`: for each job, which ranges are worth a promotion. `stuck`: what of `located` has just arrived and stays.
    """
    order = [level.name for level in levels]
    due = {each.job_id: _planned(each, order) if each.plan else each.found for each in holdings}
    wanted = {each.job_id: due[each.job_id] + _kept(each, due[each.job_id], levels) for each in holdings}
    broken = {each.job_id: missing for each in holdings if (missing := pinned_bytes(each) - int(each.found[0])) > 0}
    chosen = {each.job_id: predicted(each, paying[each.job_id]) for each in holdings}
    hot_at = {each.job_id: _sum(each.located[chosen[each.job_id]]) for each in holdings}
    settling = {job_id: _sum(stuck[job_id][~hot]) for job_id, hot in chosen.items()}
    planned = {each.job_id for each in holdings if each.plan is not None}
    for tier in range(len(levels) - 1):
        claims = {
            job_id: _claim(tier, its, wanted[job_id] - settling[job_id]) if job_id in planned else int(its[tier:].sum())
            for job_id, its in hot_at.items()
        }
        unplanned = sum(int(wanted[job_id][tier]) for job_id in hot_at if job_id not in planned)
        for job_id, size in share(_room(tier, holdings, levels, wanted) + unplanned, claims).items():
            if job_id in planned:
                _lend(tier, size, wanted[job_id])
            else:
                _gather(tier, size, wanted[job_id], hot_at[job_id])
        _make_room(tier, holdings, levels, wanted, due, broken, stuck)
    return Quotas(
        wanted, {each.job_id: _lent(each, wanted[each.job_id], due[each.job_id]) for each in holdings}, broken
    )


def pinned_bytes(holding: Holding) -> int:
    """What of the job's present memory is pinned to the fastest tier."""
    parts = holding.plan.parts if holding.plan else ()
    return min(sum(part.pinned for part in parts), int(holding.found.sum()))


def predicted(holding: Holding, paying: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which ranges of a job are LAT for this window, whatever its plan; none where its heat can't be believed."""
    none = np.zeros(len(holding.ranges), np.bool_)
    chosen = hottest(holding.ranges)
    if not holding.trusted or holding.suspended or not len(chosen):
        return none
    sizes = holding.located.sum(axis=1)
    if sizes[holding.ranges["heat"] >= chosen["heat"].min()].sum() * 2 > sizes.sum():
        return none
    whole: npt.NDArray[np.bool_] = holding.ranges["heat"] >= hot(holding.ranges)["heat"].min()
    return paying & whole


# --- jobs with a plan -----------------------------------------------------------------------------------------------


def _planned(holding: Holding, order: Sequence[TierName]) -> Bytes:
    """The plan's targets; what is found while that is close enough, so that small differences move nothing."""
    assert holding.plan is not None
    found = {name: int(size) for name, size in zip(order, holding.found, strict=True)}
    if not corrections(holding.plan, found, order):
        return holding.found
    due = targets(holding.plan, found, order)
    return np.array([due[name] for name in order], np.int64)


def _kept(holding: Holding, due: Bytes, levels: Sequence[Level]) -> Bytes:
    """What stays on a faster tier than the plan's. A mixed plan's CAP waits until heat tells which pages it is."""
    plan = holding.plan
    if plan is None or holding.suspended or (holding.found == due).all():
        return np.zeros(len(levels), np.int64)
    order = [level.name for level in levels]
    rooms = [TierRoom(level.name, 0, level.bandwidth, 0) for level in levels]
    found, planned = (dict(zip(order, map(int, sizes), strict=True)) for sizes in (holding.found, due))
    waits = holding.young and len(plan.parts) > 1
    return np.array(list(kept(plan, found, planned, rooms, waits).values()), np.int64)


def _lent(holding: Holding, wanted: Bytes, due: Bytes) -> Bytes:
    """What a job has beyond its plan, once it is known that it may: nothing where another took more than was lent."""
    lent = wanted - due
    better = holding.plan is not None and not holding.young and bool((np.cumsum(lent) >= 0).all())
    return lent if better else np.zeros_like(lent)


# --- what is hot --------------------------------------------------------------------------------------------------


def _claim(tier: int, hot_at: Bytes, open_to_it: Bytes) -> int:
    """Hot bytes for which a job with a plan has no place on this tier or a faster one: what has cooled there but just
    arrived is in their way (`open_to_it`: without that)."""
    return max(int(hot_at.sum() - np.maximum(open_to_it[: tier + 1], 0).sum()), 0)


def _lend(tier: int, size: int, mine: Bytes) -> None:
    """Bring `size` bytes more to a tier than a plan says, from the slowest first."""
    for slower in range(len(mine) - 1, tier, -1):
        more = min(size, int(mine[slower]))
        mine[slower] -= more
        mine[tier] += more
        size -= more


# --- jobs without one -----------------------------------------------------------------------------------------------


def _gather(tier: int, size: int, mine: Bytes, hot_at: Bytes) -> None:
    """Have `size` hot bytes of a job on a tier: from the slowest first; what is too much goes to the next slower one.

    Its cold memory on the tier stays, as long as there is room for it.
    """
    for slower in range(len(mine) - 1, tier, -1):
        taken = min(max(size - int(hot_at[tier]), 0), int(hot_at[slower]), int(mine[slower]))
        for counted in (mine, hot_at):
            counted[slower] -= taken
            counted[tier] += taken
    excess = min(max(int(hot_at[tier]) - size, 0), int(mine[tier]))
    for counted in (mine, hot_at):
        counted[tier] -= excess
        counted[tier + 1] += excess


def _room(tier: int, holdings: Sequence[Holding], levels: Sequence[Level], wanted: Mapping[int, Bytes]) -> int:
    """Free bytes beyond the margin, once every job has what it should: negative when the tier is short."""
    coming = sum(int(wanted[each.job_id][tier]) - int(each.found[tier]) for each in holdings)
    return levels[tier].free - levels[tier].margin - coming


# --- a tier that is short -------------------------------------------------------------------------------------------


def _make_room(
    tier: int,
    holdings: Sequence[Holding],
    levels: Sequence[Level],
    wanted: dict[int, Bytes],
    due: Mapping[int, Bytes],
    broken: Mapping[int, int],
    stuck: Mapping[int, Bytes],
) -> None:
    """Free what a tier is short of: by memory without a plan and what was lent, then by what plans have not brought
    there yet, then by what they have there. A plan takes nothing from another plan here, so two that wait for room
    don't take turns.

    Of a young job nobody knows the cold pages yet but the kernel, which has its lists of what was used lately: where it
    demotes, such a job makes room for plans only, and the margin is the kernel's business."""
    planned = [each for each in holdings if each.plan is not None and each.job_id not in broken]
    loose = [each for each in holdings if each.plan is None or each in planned]
    floors = {each.job_id: int(due[each.job_id][tier]) for each in planned}
    if levels[tier].demotes and not _awaited(tier, holdings, wanted):
        loose, planned = ([each for each in those if not each.young] for those in (loose, planned))
    _push_down(tier, loose, floors, holdings, levels, wanted, stuck)
    short = max(-_room(tier, holdings, levels, wanted), 0)
    coming = {each.job_id: max(int(wanted[each.job_id][tier]) - int(each.found[tier]), 0) for each in planned}
    for each in planned:
        _wait(tier, share(short, coming)[each.job_id], wanted[each.job_id], each.found)
    _push_down(tier, planned, {}, holdings, levels, wanted, stuck)


def _awaited(tier: int, holdings: Sequence[Holding], wanted: Mapping[int, Bytes]) -> bool:
    """Whether a plan's bytes are to come to a tier."""
    return any(int(wanted[each.job_id][tier] - each.found[tier]) > 0 for each in holdings if each.plan is not None)


def _wait(tier: int, size: int, mine: Bytes, found: Bytes) -> None:
    """`size` bytes that should come to a tier stay on the slower ones where they are, else go to the next."""
    mine[tier] -= size
    for slower in range(tier + 1, len(mine)):
        more = min(size, max(int(found[slower]) - int(mine[slower]), 0))
        mine[slower] += more
        size -= more
    mine[tier + 1] += size


def _push_down(
    tier: int,
    those: Sequence[Holding],
    floors: Mapping[int, int],
    holdings: Sequence[Holding],
    levels: Sequence[Level],
    wanted: dict[int, Bytes],
    stuck: Mapping[int, Bytes],
) -> None:
    """The coldest bytes of `those` beyond their floors go to the next slower tiers with room (replacement), until a
    tier is not short."""
    slower = {lower: max(_room(lower, holdings, levels, wanted), 0) for lower in range(tier + 1, len(levels))}
    needed = min(-_room(tier, holdings, levels, wanted), sum(slower.values()))
    if needed <= 0 or not those:
        return
    scores, sizes, owners = [], [], []
    for each in those:
        score, size = _candidates(each, tier, int(wanted[each.job_id][tier]), floors.get(each.job_id, 0))
        scores.append(score)
        sizes.append(np.minimum(size, each.located[:, tier] - stuck[each.job_id][:, tier]))
        owners.append(np.full(len(size), each.job_id))
    taken, owner = victims(needed, np.concatenate(scores), np.concatenate(sizes)).taken, np.concatenate(owners)
    for job_id in np.unique(owner[taken > 0]):
        left = int(taken[owner == job_id].sum())
        wanted[job_id][tier] -= left
        for lower, room in slower.items():
            more = min(left, room)
            wanted[job_id][lower] += more
            slower[lower] -= more
            left -= more


def _candidates(holding: Holding, tier: int, stays: int, floor: int) -> tuple[npt.NDArray[np.float64], Bytes]:
    """Score and evictable bytes of each range on a tier: the coldest of the `stays` bytes, less `floor` and what is
    pinned."""
    cold = coldness(holding.ranges) if holding.trusted else np.full(len(holding.ranges), UNKNOWN)
    hottest_first = np.argsort(cold, kind="stable")
    sizes = holding.located[:, tier].copy()
    pinned = min(max(pinned_bytes(holding) if tier == 0 else 0, floor), stays)
    passed = np.cumsum(sizes[hottest_first])
    before = passed - sizes[hottest_first]
    pageable = np.clip(passed, pinned, stays) - np.clip(before, pinned, stays)
    sizes[hottest_first] = pageable
    scores = cold * _weights(holding, hottest_first) + (SUSPENDED if holding.suspended else 0.0)
    return scores, sizes


def _weights(holding: Holding, hottest_first: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The class weight of each range. Which pages a class meant nobody says: the hottest are the part that was named
    first in the order of a plan's parts, and so on down."""
    parts: list[tuple[MemoryClass | None, int]] = (
        [(part.memory_class, part.size) for part in holding.plan.parts] if holding.plan else []
    )
    weights = np.full(len(holding.ranges), WEIGHTS[parts[-1][0] if parts else None])
    sizes = holding.located.sum(axis=1)[hottest_first]
    starts = np.cumsum(sizes) - sizes
    ends = np.cumsum([size for _, size in parts])
    for name, end in list(zip([name for name, _ in parts], ends, strict=True))[::-1]:
        weights[hottest_first[starts < end]] = WEIGHTS[name]
    return weights


def _sum(located: Bytes) -> Bytes:
    total: Bytes = located.sum(axis=0, dtype=np.int64)
    return total

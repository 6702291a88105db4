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

from tierwise.tiers import TierName
from tierwise_policy.allocation import TierRoom
from tierwise_policy.heat import hot, hottest
from tierwise_policy.holdings import Bytes, Holding, Level, pinned_bytes, room, total
from tierwise_policy.lending import kept
from tierwise_policy.placement import corrections, targets
from tierwise_policy.replacement import share
from tierwise_policy.shortage import make_room


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
    missing = {each.job_id: pinned_bytes(each) - int(each.found[0]) for each in holdings if not each.waits}
    broken = {job_id: size for job_id, size in missing.items() if size > 0}
    chosen = {each.job_id: predicted(each, paying[each.job_id]) for each in holdings}
    hot_at = {each.job_id: total(each.located[chosen[each.job_id]]) for each in holdings}
    fixed = {job_id: total(stuck[job_id][hot]) for job_id, hot in chosen.items()}
    settling = {job_id: total(stuck[job_id][~hot]) for job_id, hot in chosen.items()}
    planned = {each.job_id for each in holdings if each.plan is not None}
    for tier in range(len(levels) - 1):
        comes = {job_id: _comes(tier, its, fixed[job_id]) for job_id, its in hot_at.items()}
        claims = {
            job_id: _claim(tier, its, wanted[job_id] - settling[job_id]) if job_id in planned else int(its[tier:].sum())
            for job_id, its in comes.items()
        }
        unplanned = sum(int(wanted[job_id][tier]) for job_id in hot_at if job_id not in planned)
        for job_id, size in share(room(tier, holdings, levels, wanted) + unplanned, claims).items():
            if job_id in planned:
                _lend(tier, size, wanted[job_id])
            else:
                _gather(tier, size, wanted[job_id], hot_at[job_id], comes[job_id])
        make_room(tier, holdings, levels, wanted, due, broken, stuck)
    return Quotas(
        wanted, {each.job_id: _lent(each, wanted[each.job_id], due[each.job_id]) for each in holdings}, broken
    )


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
    return np.array(list(kept(plan, found, planned, rooms, holding.mixed and holding.young).values()), np.int64)


def _lent(holding: Holding, wanted: Bytes, due: Bytes) -> Bytes:
    """What a job has beyond its plan, once it is known that it may: nothing where another took more than was lent."""
    lent = wanted - due
    better = holding.plan is not None and not holding.young and bool((np.cumsum(lent) >= 0).all())
    return lent if better else np.zeros_like(lent)


# --- what is hot --------------------------------------------------------------------------------------------------


def _comes(tier: int, hot_at: Bytes, fixed: Bytes) -> Bytes:
    """What of the hot bytes can be on a tier: of those on slower ones, not what has just arrived there (`fixed`). Else
    cold memory would come in their stead, again and again."""
    comes: Bytes = np.where(np.arange(len(hot_at)) > tier, hot_at - fixed, hot_at)
    return comes


def _claim(tier: int, hot_at: Bytes, open_to_it: Bytes) -> int:
    """Hot bytes for which a job with a plan has no place on this tier or a faster one: what has cooled there but just
    arrived is in their way (`open_to_it`: without that)."""
    return max(int(hot_at.sum() - open_to_it[: tier + 1].sum()), 0)


def _lend(tier: int, size: int, mine: Bytes) -> None:
    """Bring `size` bytes more to a tier than a plan says, from the slowest first."""
    for slower in range(len(mine) - 1, tier, -1):
        more = min(size, int(mine[slower]))
        mine[slower] -= more
        mine[tier] += more
        size -= more


# --- jobs without one -----------------------------------------------------------------------------------------------


def _gather(tier: int, size: int, mine: Bytes, hot_at: Bytes, comes: Bytes) -> None:
    """Have `size` hot bytes of a job on a tier: from the slowest first; what is too much goes to the next slower one.

    Its cold memory on the tier stays, as long as there is room for it.
    """
    for slower in range(len(mine) - 1, tier, -1):
        taken = min(max(size - int(hot_at[tier]), 0), int(comes[slower]), int(mine[slower]))
        for counted in (mine, hot_at):
            counted[slower] -= taken
            counted[tier] += taken
    excess = min(max(int(hot_at[tier]) - size, 0), int(mine[tier]))
    for counted in (mine, hot_at):
        counted[tier] -= excess
        counted[tier + 1] += excess

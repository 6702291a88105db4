"""A tier that is short: whose bytes go down, and what has to wait (chapter 8, Algorithm 8, for all jobs of a node)."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tierwise.directive import MemoryClass
from tierwise_policy.holdings import Bytes, Holding, Level, pinned_bytes, room
from tierwise_policy.replacement import WEIGHTS, coldness, share, victims

SUSPENDED = 1000.0
"""A suspended job's memory is colder than any that runs: its pages go first."""
UNKNOWN = 0.5
"""How cold memory is taken for whose heat nobody knows."""


def make_room(
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
    short = max(-room(tier, holdings, levels, wanted), 0)
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
    slower = {lower: max(room(lower, holdings, levels, wanted), 0) for lower in range(tier + 1, len(levels))}
    needed = min(-room(tier, holdings, levels, wanted), sum(slower.values()))
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
        for lower, open_there in slower.items():
            more = min(left, open_there)
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

"""What the mover leaves undone: decisions that nothing calls for, and moves that aren't worth it.

A decision over a few jobs costs ten milliseconds of CPU, and so does a move however small: on a node where little
happens, that is most of what following the jobs' pages costs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from tierwise.tiers import Tier
from tierwise_node.record import JobRecord
from tierwise_policy.movement import Move

TRIFLE = 1 / 256
"""Less than this part of a job is not promoted: heat is an estimate, and its move would cost more than it saves."""
STEP = 1 / 64
"""Sizes that changed by less than this part of a job, or of a tier, are as they were."""


def worth_it(moves: Sequence[Move], records: Sequence[JobRecord]) -> list[Move]:
    """Those that are to be made now: no promotions of trifles, and nothing where all are trifles."""
    sizes = Counter[int]()
    for move in moves:
        sizes[move.job_id] += move.size
    least = {each.key.job_id: 0 if each.pin_missing else sum(each.found.values()) * TRIFLE for each in records}
    large = {move.job_id for move in moves if not move.pid or sizes[move.job_id] >= least[move.job_id]}
    return [move for move in moves if move.job_id in large or (large and not _up(move))]


def _up(move: Move) -> bool:
    return move.target < move.source


def outline(records: Sequence[JobRecord], tiers: Sequence[Tier], margins: Mapping[str, int]) -> object:
    """What a decision rests on besides heat, so coarse that noise doesn't change it."""
    now = time.time_ns()
    jobs = tuple(
        (
            each.key.job_id,
            each.plan,
            each.suspended,
            each.is_young(now),
            each.pin_missing > 0,
            tuple(int(size / (sum(each.found.values()) * STEP)) for size in each.found.values() if size),
        )
        for each in records
    )
    rooms = tuple(
        (int((tier.free - margins.get(tier.name, 0)) / max(tier.capacity * STEP, 1)), tier.free < margins[tier.name])
        for tier in tiers
    )
    return jobs, rooms

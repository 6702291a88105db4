"""What a job has of a faster tier beyond its plan, for as long as nobody with a better claim wants it.

A plan's promise is about the memory that a job may come to use; until then its room is idle. LAT, SHL, BW and unclassed
memory that has to wait on a slower tier than its own may use such room at once: it starts there, and stays. CAP
memory asked for the slow tier, and only what turned out to be hot is lent room (quotas).
"""

from collections.abc import Mapping, Sequence

import msgspec

from tierwise.plans import MemoryPolicy, Plan
from tierwise.tiers import Tier, TierName
from tierwise_policy.allocation import TierRoom, bandwidth_shares
from tierwise_policy.placement import parts_due


def start(plan: Plan, tiers: Sequence[Tier]) -> MemoryPolicy:
    """The policy that a job's tasks start with: the plan's, but on a faster tier where all that wants it is idle now.

    `tiers`: the node's, fastest first.
    """
    wants = sum(part.size for part in plan.parts if part.memory_class != "CAP")
    if plan.policy.mode != "preferred_many" or not wants:
        return plan.policy
    for tier in tiers:
        if tier.name in plan.policy.tiers:
            break
        if tier.free >= wants:
            return msgspec.structs.replace(plan.policy, tiers=(tier.name,))
    return plan.policy


def kept(
    plan: Plan, found: Mapping[TierName, int], due: Mapping[TierName, int], rooms: Sequence[TierRoom], waits: bool
) -> dict[TierName, int]:
    """How many bytes more (or less) than is due each tier may hold, so that what is on a faster tier stays there.

    BW gets no more of a tier than its bandwidth's share. CAP keeps nothing unless it `waits`: for the heat that will
    tell which of its pages go. The figures add up to 0; `rooms` are the tiers, fastest first.
    """
    order = [tier.name for tier in rooms]
    over = {name: found.get(name, 0) - due.get(name, 0) for name in order}
    extra = dict.fromkeys(order, 0)
    for part, filled in parts_due(plan, found, order):
        if part.memory_class == "CAP" and not waits:
            continue
        shares = bandwidth_shares(sum(filled.values()), rooms) if part.memory_class == "BW" else None
        for place, name in enumerate(order):
            most = max(shares[name] - filled.get(name, 0), 0) if shares else sum(filled.values())
            for slower in order[:place:-1]:
                size = max(min(over[name], -over[slower], filled.get(slower, 0), most), 0)
                for counted, change in ((extra, size), (over, -size)):
                    counted[name] += change
                    counted[slower] -= change
                filled[slower] = filled.get(slower, 0) - size
                most -= size
    return extra

"""What there is to decide on: each job's memory, and the tiers that it lies on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tierwise.plans import Plan
from tierwise.tiers import TierName
from tierwise_policy.heat import Ranges

Bytes = npt.NDArray[np.int64]


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
    robbed: bool = False
    """Something of its pinned part was taken away."""

    @property
    def mixed(self) -> bool:
        """Whether heat must tell which of its pages a plan means for which tier."""
        return self.plan is not None and len(self.plan.parts) > 1

    @property
    def waits(self) -> bool:
        """Whether nothing goes up before heat tells what; a pinned part that was taken away is made good at once."""
        return self.mixed and self.young and not self.robbed

    @cached_property
    def found(self) -> Bytes:
        """Bytes on each tier."""
        return total(self.located)


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


def pinned_bytes(holding: Holding) -> int:
    """What of the job's present memory is pinned to the fastest tier."""
    parts = holding.plan.parts if holding.plan else ()
    return min(sum(part.pinned for part in parts), int(holding.found.sum()))


def room(tier: int, holdings: Sequence[Holding], levels: Sequence[Level], wanted: Mapping[int, Bytes]) -> int:
    """Free bytes beyond the margin, once every job has what it should: negative when the tier is short."""
    coming = sum(int(wanted[each.job_id][tier]) - int(each.found[tier]) for each in holdings)
    return levels[tier].free - levels[tier].margin - coming


def total(located: Bytes) -> Bytes:
    """Bytes on each tier, of all ranges."""
    found: Bytes = located.sum(axis=0, dtype=np.int64)
    return found

"""Plans: what one job gets on one node, and how what was found is compared with it."""

from typing import Literal

import msgspec

from tierwise.directive import MemoryClass
from tierwise.tiers import TierName

PolicyMode = Literal["preferred_many", "weighted_interleave", "default"]


class MemoryPolicy(msgspec.Struct, frozen=True, gc=False):
    """The initial memory policy of a job's tasks, in tiers; the agent turns tiers into NUMA nodes.

    `numa_balancing` asks for MPOL_F_NUMA_BALANCING (set_mempolicy(2)). Never BIND: a full node would end in the
    OOM killer (DESIGN, life of a job 5).
    """

    mode: PolicyMode = "default"
    tiers: tuple[TierName, ...] = ()
    numa_balancing: bool = False


class Part(msgspec.Struct, frozen=True, gc=False):
    """One class of a plan: `size` bytes, of them `tiers[t]` on tier t; `unplaced` fits nowhere.

    sum(tiers.values()) + unplaced == size, always. `pinned` bytes, on the fastest tier, are never moved down.
    Without a class it is what the job has beyond the sizes that it named.
    """

    memory_class: MemoryClass | None
    size: int
    tiers: dict[TierName, int]
    pinned: int = 0
    unplaced: int = 0


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What one job gets on one node. `degraded` says why it is not what was asked; empty: it is."""

    parts: tuple[Part, ...] = ()
    policy: MemoryPolicy = MemoryPolicy()
    degraded: tuple[str, ...] = ()
    granted: dict[TierName, int] = {}
    """Bytes per tier that programs of the job asked for by themselves, through the user library."""

    @property
    def size(self) -> int:
        """Bytes asked, over all parts."""
        return sum(part.size for part in self.parts)

    @property
    def unplaced(self) -> int:
        """Bytes that fit on no tier."""
        return sum(part.unplaced for part in self.parts)

    @property
    def tiers(self) -> dict[TierName, int]:
        """Bytes per tier, over all parts; tiers of which the plan takes nothing are left out."""
        total: dict[TierName, int] = {}
        for part in self.parts:
            for tier, size in part.tiers.items():
                if size:
                    total[tier] = total.get(tier, 0) + size
        return total


class Moves(msgspec.Struct, frozen=True, gc=False):
    """Verified moves, in pages of the base size: always the four counts together."""

    asked: int = 0
    landed: int = 0
    refused: int = 0
    bounced: int = 0

    def __add__(self, other: "Moves") -> "Moves":
        return Moves(
            self.asked + other.asked,
            self.landed + other.landed,
            self.refused + other.refused,
            self.bounced + other.bounced,
        )

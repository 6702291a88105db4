"""Where memory that a program asks for by flags is to lie: TierAlloc for one range (chapter 8, Algorithm 7).

One range can't be cut by class, so flags combine: CAP with another flag leaves out the fastest tier, LAT or SHL with
another the slowest, and BW spreads over what is left by bandwidth. Without BW, what is left is filled from the
fastest on, by CAP alone from the slowest. What doesn't fit there goes to the nearest other tier with room.
"""

from collections.abc import Sequence

import msgspec

from tierwise.directive import CLASSES, MemoryClass
from tierwise.tiers import TierName
from tierwise.units import format_size
from tierwise_policy.allocation import DEGRADED_SHARE, TierRoom, bandwidth_shares


class Hint(msgspec.Struct, frozen=True):
    """What a program says of its memory: flags, or the name of a tier."""

    flags: frozenset[MemoryClass] = frozenset()
    tier: TierName = ""


class Grant(msgspec.Struct, frozen=True):
    """Bytes per tier for one range: interleaved where it is `spread`, else one behind the other in this order.

    The sizes and `unplaced` add up to what was asked. `degraded`: what is elsewhere than it should be, and why.
    """

    parts: tuple[tuple[TierName, int], ...]
    spread: bool = False
    unplaced: int = 0
    degraded: str = ""

    @property
    def balanced(self) -> bool:
        """Whether the kernel's own promotion helps: on one tier, and not for what belongs on a slow one."""
        return not self.spread and len(self.parts) == 1


def parse_hint(text: str) -> Hint:
    """`LAT,BW` or `tier:cxl`. Raises ValueError."""
    if text.startswith("tier:"):
        return Hint(tier=text.removeprefix("tier:"))
    flags = text.split(",") if text else []
    if unknown := [flag for flag in flags if flag not in CLASSES]:
        raise ValueError(f"{unknown[0][:32]!r} is no memory class: use {', '.join(CLASSES)}")
    return Hint(frozenset(flag for flag in CLASSES if flag in flags))


def grant(hint: Hint, size: int, rooms: Sequence[TierRoom]) -> Grant:
    """Where `size` bytes go on a node whose tiers, fastest first, are `rooms`. Raises ValueError for another tier."""
    own = _own(hint, rooms)
    others = [room for room in rooms if room not in own]
    spread = "BW" in hint.flags and len(own) > 1
    wanted = bandwidth_shares(size, own) if spread else {}
    placed: dict[TierName, int] = {}
    left = size
    for room in (*own, *own, *others) if spread else (*own, *others):  # a spread one: by shares, then what is left over
        most = wanted.pop(room.name, left)
        taken = min(most, left, max(room.evictable, 0) - placed.get(room.name, 0))
        if taken > 0:
            placed[room.name] = placed.get(room.name, 0) + taken
            left -= taken
    return Grant(tuple(placed.items()), spread, left, _degraded(placed, left, size, own, spread))


def _own(hint: Hint, rooms: Sequence[TierRoom]) -> list[TierRoom]:
    """The tiers that a hint means, in the order in which they are filled."""
    if hint.tier:
        own = [room for room in rooms if room.name == hint.tier]
        if not own:
            raise ValueError(f"no tier {hint.tier!r} here: there are {', '.join(room.name for room in rooms)}")
        return own
    own = list(rooms)
    near, large, wide = bool(hint.flags & {"LAT", "SHL"}), "CAP" in hint.flags, "BW" in hint.flags
    if near + large + wide > 1:
        if large and len(own) > 1:
            del own[0]
        if near and len(own) > 1:
            del own[-1]
        return own
    if wide:
        return own
    return own[-1:] if large else own[:1]


def _degraded(placed: dict[TierName, int], unplaced: int, size: int, own: Sequence[TierRoom], spread: bool) -> str:
    shares = bandwidth_shares(size, own) if spread else {}
    names = {room.name for room in own}
    remarks = []
    for tier, bytes_there in placed.items():
        over = bytes_there - shares[tier] if tier in shares else 0 if tier in names else bytes_there
        if over > (size * DEGRADED_SHARE if tier in shares else 0):
            remarks.append(f"{format_size(over)} of {format_size(size)} on {tier}, their own tier has no more room")
    if unplaced:
        remarks.append(f"{format_size(unplaced)} of {format_size(size)} fit on no tier: the kernel places them")
    return "; ".join(remarks)

"""Where a new copy goes, and which old ones make room: quotas of the tier and of the user, and the tier's memory."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tierwise.tiers import TierName
from tierwise.units import format_size
from tierwise_node.staging.copies import Copy
from tierwise_node.staging.source import StageError
from tierwise_policy.staging import Kept, evicted

SPARE = 32 << 20
"""Bytes of a tier's free memory that no copy takes."""


class Shelf(NamedTuple):
    """What one tier's staging has: bytes it may hold, of one user, what is free in memory; and bytes being copied."""

    quota: int
    user_quota: int
    free: int
    reserved: Mapping[int, int]
    """By uid: copies that are being made."""


class Place(NamedTuple):
    """The tier for a copy, and the copies that go for it."""

    tier: TierName
    victims: tuple[Copy, ...]


def place(what: str, size: int, uid: int, shelves: Mapping[TierName, Shelf], copies: Iterable[Copy], now: int) -> Place:
    """The first of `shelves` that can take `size` bytes of `uid`. Raises StageError, which says why none can."""
    reasons = []
    copies = list(copies)
    for tier, shelf in shelves.items():
        here = [copy for copy in copies if copy.tier == tier]
        found = _victims(size, uid, shelf, here, now)
        if isinstance(found, str):
            reasons.append(f"{tier}: {found}")
        else:
            return Place(tier, found)
    why = "; ".join(reasons) or "no tier of this node has staging"
    raise StageError(f"{what} ({format_size(size)}) can't be staged: {why}")


def _victims(size: int, uid: int, shelf: Shelf, here: list[Copy], now: int) -> tuple[Copy, ...] | str:
    """The copies that must go, or why it is in vain."""
    if size > shelf.user_quota:
        return f"the copies of one user may take {format_size(shelf.user_quota)} there"
    own = [copy for copy in here if copy.owner == uid]
    over = _total(own) + shelf.reserved.get(uid, 0) + size - shelf.user_quota
    names = evicted(_kept(own, now), over)
    if names is None:
        return f"your copies there may take {format_size(shelf.user_quota)}, and what is held stays"
    over = max(
        _total(here) + sum(shelf.reserved.values()) + size - shelf.quota,
        sum(shelf.reserved.values()) + size + SPARE - shelf.free,
    ) - _total(copy for copy in own if copy.name in names)
    more = evicted([each for each in _kept(here, now) if each.name not in names], over)
    if more is None:
        return "no room is left, and what is held stays"
    chosen = {*names, *more}
    return tuple(copy for copy in here if copy.name in chosen)


def _kept(copies: Iterable[Copy], now: int) -> list[Kept]:
    """Those that may go."""
    return [
        Kept(copy.name, copy.size, copy.hits + 1, max(now - copy.used, 0) / 1e9)
        for copy in copies
        if not copy.holders and not copy.pinned
    ]


def _total(copies: Iterable[Copy]) -> int:
    return sum(copy.size for copy in copies)

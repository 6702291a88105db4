"""The ranges of one process that were granted, each with its bytes per tier. Ordered, and never overlapping."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tierwise.tiers import TierName


@dataclass(frozen=True)
class Piece:
    """Bytes [start, end) of a process, and the tiers that they were granted on.

    `kept`: nobody else moves them. When a tier is short of memory, it is taken back.
    """

    start: int
    end: int
    tiers: tuple[tuple[TierName, int], ...]
    kept: bool = True

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def part(self, start: int, end: int) -> "Piece":
        """What lies within [start, end); its tiers in proportion."""
        tiers = tuple((tier, size * (end - start) // self.size) for tier, size in self.tiers)
        return replace(self, start=start, end=end, tiers=tiers)


class Pieces:
    """All of one process."""

    def __init__(self) -> None:
        self._items: list[Piece] = []
        self._kept: Counter[TierName] = Counter()

    def __iter__(self) -> Iterator[Piece]:
        return iter(tuple(self._items))  # as they are now: the mover's thread looks, too

    def __len__(self) -> int:
        return len(self._items)

    def add(self, *pieces: Piece) -> None:
        """Pieces that follow each other; what lay there before is replaced: the process has mapped it anew."""
        self.cut(pieces[0].start, pieces[-1].end)
        at = self._behind(pieces[0].start)
        self._items[at:at] = pieces
        self._count(pieces, 1)

    def cut(self, start: int, end: int) -> list[Piece]:
        """Take [start, end) out; what was there."""
        first = self._behind(start)
        last = first
        gone: list[Piece] = []
        rest: list[Piece] = []
        while last < len(self._items) and self._items[last].start < end:
            piece = self._items[last]
            gone.append(piece.part(max(piece.start, start), min(piece.end, end)))
            if piece.start < start:
                rest.append(piece.part(piece.start, start))
            if piece.end > end:
                rest.append(piece.part(end, piece.end))
            last += 1
        self._count(self._items[first:last], -1)
        self._count(rest, 1)
        self._items[first:last] = rest
        return gone

    def around(self, start: int, end: int) -> tuple[int, int]:
        """[start, end) with the whole of the pieces that it lies in."""
        first, last = self._behind(start), self._behind(end - 1)
        if first < len(self._items):
            start = min(start, self._items[first].start)
        if last < len(self._items) and self._items[last].start < end:
            end = max(end, self._items[last].end)
        return start, end

    def move(self, start: int, end: int, to: int) -> None:
        """What was in [start, end) begins at `to` now."""
        moved = [
            replace(piece, start=piece.start - start + to, end=piece.end - start + to) for piece in self.cut(start, end)
        ]
        if moved:
            self.add(*moved)

    def take_back(self, tier: TierName, most: int) -> int:
        """Let go of pieces on a tier until `most` bytes are free to be moved; how many are."""
        taken = 0
        for at, piece in enumerate(self._items):
            here = dict(piece.tiers).get(tier, 0)
            if piece.kept and here and taken < most:
                self._count([piece], -1)
                self._items[at] = replace(piece, kept=False)
                taken += here
        return taken

    def tiers(self) -> dict[TierName, int]:
        """Bytes per tier of the pieces that are kept."""
        return {tier: size for tier, size in self._kept.items() if size}

    def _count(self, pieces: Iterable[Piece], times: int) -> None:
        for piece in pieces:
            if piece.kept:
                for tier, size in piece.tiers:
                    self._kept[tier] += times * size

    def _behind(self, address: int) -> int:
        """The first piece that ends behind an address."""
        at = bisect_right(self._items, address, key=lambda piece: piece.start)
        return at - 1 if at and self._items[at - 1].end > address else at

"""Ranges of addresses without those that were granted to a program: what others may move of a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierwise_policy.heat import Ranges

Extent = tuple[int, int]


def without(ranges: Ranges, kept: Sequence[Extent]) -> Ranges:
    """What is left of the ranges of one process (`start`, `end` and whatever else); `kept` is ascending."""
    import numpy as np  # noqa: PLC0415  an agent that moves nothing goes without

    if not kept:
        return ranges
    starts, ends = np.array(kept, np.uint64).T
    pieces = []
    for row in ranges:
        at = int(row["start"])
        first = int(np.searchsorted(ends, row["start"], side="right"))
        for start, end in zip(starts[first:].tolist(), ends[first:].tolist(), strict=True):
            if start >= row["end"]:
                break
            if start > at:
                pieces.append(_piece(row, at, start))
            at = max(at, end)
        if at < row["end"]:
            pieces.append(_piece(row, at, int(row["end"])))
    return np.array(pieces, ranges.dtype)


def _piece(row: Ranges, start: int, end: int) -> Ranges:
    piece = row.copy()
    piece["start"], piece["end"] = start, end
    return piece

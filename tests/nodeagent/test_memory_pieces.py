"""Granted ranges against a model that knows each byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tierwise_node.memory.kept import without
from tierwise_node.memory.pieces import Piece, Pieces
from tierwise_policy.heat import RANGE

SPACE = 64
STEP = st.tuples(
    st.sampled_from(["add", "cut", "move", "take_back"]),
    st.integers(0, SPACE - 1),
    st.integers(1, 16),
    st.integers(0, SPACE - 1),
)


@given(st.lists(STEP, max_size=30))
def test_pieces_are_what_was_added_less_what_was_cut(steps: list[tuple[str, int, int, int]]) -> None:
    pieces, model = Pieces(), [False] * 2 * SPACE
    for what, start, size, to in steps:
        end = start + size
        if what == "add":
            pieces.add(Piece(start, end, (("dram", size),)))
            model[start:end] = [True] * size
        elif what == "cut":
            gone = pieces.cut(start, end)
            assert sum(piece.size for piece in gone) == sum(model[start:end])
            model[start:end] = [False] * size
        elif what == "move":
            pieces.move(start, end, to)
            moved, model[start:end] = model[start:end], [False] * size
            if any(moved):  # a piece that moves takes its range's holes along as holes
                first, last = moved.index(True), size - moved[::-1].index(True)
                model[to + first : to + last] = moved[first:last]
        else:
            pieces.take_back("dram", size)
        found = [any(piece.start <= at < piece.end for piece in pieces) for at in range(2 * SPACE)]
        assert found == model
        assert all(before.end <= after.start for before, after in zip(list(pieces), list(pieces)[1:], strict=False))
        kept = sum(dict(piece.tiers).get("dram", 0) for piece in pieces if piece.kept)
        assert pieces.tiers().get("dram", 0) == kept == sum(piece.size for piece in pieces if piece.kept)


@given(
    st.lists(st.integers(0, SPACE), min_size=0, max_size=10, unique=True).map(sorted),
    st.lists(st.integers(0, SPACE), min_size=0, max_size=10, unique=True).map(sorted),
)
def test_ranges_without_what_is_kept(edges: list[int], kept_edges: list[int]) -> None:
    def pairs(each: list[int]) -> list[tuple[int, int]]:
        return list(zip(each[::2], each[1::2], strict=False))

    ranges = np.zeros(len(pairs(edges)), RANGE)
    for row, (start, end) in zip(ranges, pairs(edges), strict=True):
        row["start"], row["end"], row["heat"] = start, end, start
    left = without(ranges, pairs(kept_edges))
    wanted = {at for start, end in pairs(edges) for at in range(start, end)}
    wanted -= {at for start, end in pairs(kept_edges) for at in range(start, end)}
    assert [at for row in left for at in range(int(row["start"]), int(row["end"]))] == sorted(wanted)


@given(
    st.lists(st.tuples(st.integers(0, SPACE), st.integers(1, 8)), max_size=8), st.integers(0, SPACE), st.integers(1, 16)
)
def test_what_is_around_a_range_is_whole_pieces(added: list[tuple[int, int]], start: int, size: int) -> None:
    pieces = Pieces()
    for at, length in added:
        pieces.add(Piece(at, at + length, ()))
    touched = [piece for piece in pieces if piece.start < start + size and start < piece.end]
    edges = [start, start + size, *(edge for piece in touched for edge in (piece.start, piece.end))]
    before = len(pieces)
    assert pieces.around(start, start + size) == (min(edges), max(edges))
    pieces.cut(*pieces.around(start, start + size))
    assert len(pieces) == before - len(touched)

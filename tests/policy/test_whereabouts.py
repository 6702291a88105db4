"""Where memory lies, by address, kept between walks of its pages."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tierwise.units import MIB
from tierwise_policy.heat import RANGE, Ranges, sizes
from tierwise_policy.whereabouts import PIECES, Whereabouts, cut_at, in_pieces


def ranges(*spans: tuple[int, int], pid: int = 1) -> Ranges:
    """Ranges of one process, in MiB."""
    made = np.zeros(len(spans), RANGE)
    made["pid"] = pid
    made["start"], made["end"] = (np.array(column) * MIB for column in zip(*spans, strict=True))
    return made


def halves() -> Whereabouts:
    """8 MiB in DRAM, then 8 MiB on CXL."""
    return Whereabouts(ranges((0, 8), (8, 16)), np.array([[8, 0], [0, 8]]) * MIB)


def test_other_ranges_are_laid_upon_what_a_walk_found() -> None:
    found = halves().of(ranges((0, 4), (6, 10), (12, 20), (30, 40)))
    assert (found == np.array([[4, 0], [2, 2], [0, 4], [0, 0]]) * MIB).all()
    assert not halves().of(ranges((0, 16), pid=2)).any()


def test_moves_are_counted_on_where_they_were_made() -> None:
    after = halves().moved(ranges((12, 14), (8, 10)), 1, 0, 3 * MIB)
    assert (
        after.of(ranges((8, 9), (10, 12), (12, 14), (14, 16))) == np.array([[0.5, 0.5], [0, 2], [2, 0], [0, 2]]) * MIB
    ).all()
    assert after.found.tolist() == [11 * MIB, 5 * MIB]


def test_long_ranges_are_walked_in_pieces() -> None:
    whole = ranges((0, 1000), (2000, 2001))
    pieces = in_pieces(whole)
    assert sizes(pieces).sum() == sizes(whole).sum()
    assert sizes(pieces).max() <= sizes(whole).sum() / PIECES
    assert (pieces["start"][1:] >= pieces["end"][:-1]).all()


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(1, 6), st.integers(0, 1), st.integers(0, 4)), max_size=12))
def test_no_byte_is_lost_by_moves(moves: list[tuple[int, int, int, int]]) -> None:
    places = halves()
    for start, length, source, size in moves:
        places = places.moved(ranges((start, min(start + length, 16))), source, 1 - source, size * MIB)
        assert (places.located >= 0).all()
        assert places.found.sum() == 16 * MIB
        assert places.of(ranges((0, 16))).sum() == 16 * MIB


def test_pieces_lie_within_what_cuts_them_or_beside() -> None:
    pieces = cut_at(ranges((0, 10), (10, 12)), ranges((4, 11)))
    assert (pieces["start"] // MIB).tolist() == [0, 4, 10, 11]
    assert (pieces["end"] // MIB).tolist() == [4, 10, 11, 12]

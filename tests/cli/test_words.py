"""Single values, bars and curves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_cli.show import words
from tierwise_cli.show.bars import Piece, cells_of, curve

SIZES = st.integers(0, 1 << 50)


@given(SIZES, st.lists(SIZES, max_size=8), st.integers(0, 300))
def test_a_bar_is_never_longer_than_its_place(capacity: int, sizes: list[int], width: int) -> None:
    cells = cells_of(capacity, [Piece(size, "█") for size in sizes], width)
    assert sum(cells) <= width
    assert all(cell >= 0 for cell in cells)


def test_what_is_there_is_seen() -> None:
    assert cells_of(1000, [Piece(1, "█"), Piece(500, "▓"), Piece(0, "▒")], 10) == [1, 4, 0]


@given(st.lists(SIZES, max_size=100), st.integers(1, 80))
def test_a_curve_fits(values: list[int], width: int) -> None:
    assert len(curve(values, width, max(values, default=0))) <= width


def test_a_curve_rises() -> None:
    assert curve([0, 1, 4, 8], 4, 8) == " ▁▄█"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.7, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (356400, "4 d 3 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lat:67108864,cap", "lat:64M,cap"),
        ("bw:50%", "bw:50%"),
        ("cap:1000", "cap:1000"),
        ("auto", "auto"),
        ("", "none"),
        ("no\x1b[0m", "no�[0m"),
    ],
)
def test_directive(text: str, shown: str) -> None:
    assert words.directive(text) == shown


def test_tiers_that_hold_nothing_are_left_out() -> None:
    assert words.by_tier({"cxl": 1 << 20, "dram": 3 << 20, "pmem": 0}) == "3 MiB dram, 1 MiB cxl"
    assert words.by_tier({}) == "0"


def test_where_room_is_scarce_decimals_go() -> None:
    assert words.briefly({"dram": 188_000_000, "cxl": 3 << 29, "pmem": 512}) == "179 MiB dram, 512 B pmem, 1.5 GiB cxl"
    assert words.briefly({}) == "0"

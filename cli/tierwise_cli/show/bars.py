"""Bars and curves made of characters, as wide as the place they get."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

JOB_COLOURS = ("cyan", "magenta", "blue", "yellow", "green", "red")
JOB_GLYPHS = ("█", "▓", "▒", "▚", "▌", "▞")
_ASCII = {"█": "#", "▓": "=", "▒": "+", "▚": "%", "▌": "|", "▞": "/", "░": "-", "·": "."}
OTHERS, FREE = "░", "·"
RISING = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Piece:
    """A part of a bar: so many bytes, and how they look."""

    size: int
    look: str
    style: str = ""


@dataclass(frozen=True)
class Bar:
    """`pieces` beside each other, to the scale of `capacity`, the rest free."""

    capacity: int
    pieces: tuple[Piece, ...]
    smallest: int = 10

    def __rich_measure__(self, _console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.smallest, options.max_width)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        for piece, cells in zip(self.pieces, cells_of(self.capacity, self.pieces, width), strict=True):
            yield Segment(glyph(piece.look, options.ascii_only) * cells, Style.parse(piece.style))
            width -= cells
        yield Segment(glyph(FREE, options.ascii_only) * width, Style(dim=True))


def glyph(look: str, ascii_only: bool) -> str:
    """`look`, or what stands for it on a terminal that has ASCII alone."""
    return _ASCII[look] if ascii_only else look


def cells_of(capacity: int, pieces: Sequence[Piece], width: int) -> list[int]:
    """Cells per piece: rounded so that the ends are right, and never none for what is there; at most `width`."""
    cells: list[int] = []
    passed = used = 0
    for piece in pieces:
        passed += piece.size
        end = round(width * min(passed / capacity, 1)) if capacity else 0
        wanted = max(end - used, 1 if piece.size else 0)
        cells.append(min(wanted, width - used))
        used += cells[-1]
    return cells


def job_look(position: int) -> tuple[str, str]:
    """Glyph and colour of the job at `position` in a list: neighbours differ also without colours."""
    return JOB_GLYPHS[position % len(JOB_GLYPHS)], JOB_COLOURS[position % len(JOB_COLOURS)]


def curve(values: Sequence[int], width: int, top: int) -> str:
    """`values` as a line of rising blocks of at most `width` cells, each the largest of its stretch; `top` is full."""
    if not values or not top:
        return ""
    cells = min(width, len(values))
    stretches = [values[len(values) * cell // cells : len(values) * (cell + 1) // cells] for cell in range(cells)]
    return "".join(RISING[-(-max(stretch) * (len(RISING) - 1) // top)] for stretch in stretches)

"""A small plot of stacked curves, made of characters: what a job held on each tier over time."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from tierwise.units import format_size
from tierwise_cli.show.bars import RISING, glyph, job_look

_LABEL = 10


@dataclass(frozen=True)
class Layer:
    """One curve: its values, oldest first. The next layer lies on top of it."""

    name: str
    values: Sequence[int]


@dataclass(frozen=True)
class Plot:
    """`layers` on top of each other, `height` rows; `top` is the value of the upper edge, `span` the time it took."""

    layers: tuple[Layer, ...]
    top: int
    span: str
    height: int = 6
    width: int = 60

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(min(self.width, options.max_width - _LABEL - 1), 1)
        columns = [stretched(layer.values, width) for layer in self.layers]
        for row in range(self.height, 0, -1):
            label = format_size(self.top * row // self.height) if row in (self.height, self.height // 2) else ""
            yield Segment(f"{label:>{_LABEL}} ", Style(dim=True))
            for column in zip(*columns, strict=True):
                yield self._cell(column, row, options.ascii_only)
            yield Segment.line()
        yield Segment(f"{'0':>{_LABEL + 2}}{self.span:>{width - 1}}", Style(dim=True))
        yield Segment.line()

    def _cell(self, values: Sequence[int], row: int, ascii_only: bool) -> Segment:
        """What of a column's stack is in one row: the layer that has most of it, filled as high as the stack goes."""
        low, high = self.top * (row - 1) / self.height, self.top * row / self.height
        passed, most, which = 0.0, 0.0, 0
        for index, value in enumerate(values):
            share = min(passed + value, high) - max(passed, low)
            passed += value
            if share > most:
                most, which = share, index
        filled = min(max((passed - low) / (high - low), 0.0), 1.0)
        if not most or not filled:
            return Segment(" ")
        look, colour = job_look(which)
        if ascii_only or filled == 1.0:
            return Segment(glyph(look, ascii_only), Style.parse(colour))
        return Segment(RISING[max(round(filled * (len(RISING) - 1)), 1)], Style.parse(colour))


def stretched(values: Sequence[int], width: int) -> list[int]:
    """`values` over `width` columns: each the largest of its stretch, or the value that holds there."""
    if not values:
        return [0] * width
    count = len(values)
    return [
        max(values[start : max((column + 1) * count // width, start + 1)])
        for column, start in ((column, column * count // width) for column in range(width))
    ]

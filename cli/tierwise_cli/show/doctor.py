"""`tierctl doctor`: a line a mechanism, with advice below where there is some."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tierwise.messages import Mechanism
from tierwise_cli.show import words

_STATES = {"used": words.GOOD, "fallback": words.WARN, "missing": words.BAD, "off": words.FAINT}


def doctor(groups: Mapping[str, Sequence[Mechanism]]) -> RenderableType:
    """A block a group; details and advice wrap inside their own column."""
    width = max((len(row.name) for rows in groups.values() for row in rows), default=0)
    blocks: list[RenderableType] = []
    for title, rows in groups.items():
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, width=min(width, 28))
        grid.add_column(no_wrap=True, width=max(map(len, _STATES)))
        grid.add_column(overflow="fold")
        for row in rows:
            detail = Text(words.safe(row.detail))
            if row.advice:
                detail.append(f"\n→ {words.safe(row.advice)}", words.WARN)
            grid.add_row(words.words(row.name), Text(row.state, _STATES[row.state]), detail)
        blocks.append(Text(words.safe(title), words.HEAD))
        blocks.append(Padding(grid, (0, 0, 1, 2)))
    counts = [row.state for rows in groups.values() for row in rows]
    blocks.append(Text(", ".join(f"{counts.count(state)} {state}" for state in _STATES if state in counts)))
    return Group(*blocks)

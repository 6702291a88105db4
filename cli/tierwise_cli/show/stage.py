"""`tierctl stage list`: the staged copies of this host's nodes."""

import time
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from tierwise.messages import StagedCopy
from tierwise_cli.show import words


def stage(copies: Sequence[StagedCopy]) -> RenderableType:
    """A line a copy, the newest used first; those that are being made come first of all."""
    if not copies:
        return Text("Nothing of yours is staged on this host.")
    table = words.table(
        "NODE", "TIER", "SIZE", "HITS", "HELD BY", "USED", "OWNER", "SOURCE", right=("SIZE", "HITS"),
        cut=("NODE", "HELD BY", "SOURCE"),
    )  # fmt: skip
    for copy in sorted(copies, key=lambda copy: (copy.copied == copy.size, -copy.used)):
        table.add_row(
            words.words(copy.node),
            words.words(copy.tier),
            words.size(copy.size),
            Text(str(copy.hits)),
            words.words(_holders(copy), words.GOOD if copy.held else words.FAINT),
            Text(_used(copy), words.FAINT),
            words.words(words.user(copy.owner)),
            words.words(copy.source),
        )
    return table


def _holders(copy: StagedCopy) -> str:
    others = copy.held - len(copy.holders)
    holders = ["pinned", *copy.holders] if copy.pinned else [*copy.holders]  # its end is cut where there is little room
    if others:
        holders.append(f"{others} others" if copy.holders else str(others))
    return ", ".join(holders) or "-"


def _used(copy: StagedCopy) -> str:
    if copy.copied < copy.size:
        return f"copying, {copy.copied * 100 // copy.size} %"
    return f"{words.duration(max(time.time() - copy.used / 1e9, 0))} ago"

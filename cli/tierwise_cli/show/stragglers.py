"""`tierctl straggler`: a line a marked node."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from tierwise.telemetry import Straggler
from tierwise_cli.show import words

_STYLES = {"named": words.WARN, "pinned": words.BAD, "pardoned": words.FAINT}


def stragglers(marks: Sequence[Straggler]) -> RenderableType:
    """Who is marked, since when, till when and why."""
    if not marks:
        return Text("No node is a straggler.")
    table = words.table("NODE", "STATE", "SINCE", "UNTIL", "WHY", cut=("WHY",))
    for mark in marks:
        by = f" (by {words.user(mark.by)})" if mark.by is not None else ""
        table.add_row(
            words.words(mark.node, words.HEAD),
            Text(mark.state, _STYLES[mark.state]),
            Text(_time(mark.since)),
            Text(_time(mark.until) if mark.until else "-"),
            Text(words.safe(f"{mark.evidence}{by}")),
        )
    return table


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9).strftime("%F %H:%M")

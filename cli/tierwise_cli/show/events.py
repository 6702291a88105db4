"""`tierctl events`: a line an event."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tierwise.messages import Event
from tierwise.units import KIB, format_size
from tierwise_cli.show import words

PAGE = 4 * KIB
_STYLES = {"promoted": words.GOOD, "demoted": words.FAINT, "pressure": words.WARN}


def events(told: Mapping[str, Sequence[Event]]) -> RenderableType:
    """All agents' events in the order of time; the agent's name where there are several."""
    rows = sorted(((name, event) for name, its in told.items() for event in its), key=lambda row: row[1].time)
    return Group(*(_line(name if len(told) > 1 else "", event) for name, event in rows))


def _line(name: str, event: Event) -> Text:
    clock = time.strftime("%H:%M:%S", time.localtime(event.time / 1e9))
    job = f"job {event.job_id}" if event.job_id else ""
    moved = f"{format_size(event.pages * PAGE)} {event.source} → {event.target}" if event.pages else ""
    line = Text.assemble(
        (clock, words.FAINT),
        f"  {words.safe(name)}  " if name else "  ",
        f"{job:12}",
        (f"{words.safe(event.what):14}", _STYLES.get(event.what, "")),
        f"{words.safe(moved):26}" if moved else "",
        words.safe(event.why),
    )
    line.no_wrap, line.overflow = True, "ellipsis"
    return line

"""`tierctl explain`: a line a node, the best first."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from tierwise.telemetry import Explanation
from tierwise_cli.show import words

MOST = 200
"""Lines that are shown: who has more nodes reads the JSON."""


def explanation(found: Explanation) -> RenderableType:
    """What was asked, the nodes, and what there is to add."""
    when = datetime.fromtimestamp(found.time / 1e9).strftime("%F %T")
    head = words.words(f"Job {found.job_id} asks for {found.asked}; the nodes as of {when}:", words.HEAD)
    table = words.table("", "NODE", "CHOSEN", "SCORE", "WHY", right=("SCORE",), cut=("WHY",))
    for verdict in found.verdicts[:MOST]:
        table.add_row(
            Text("*" if verdict.node in found.ran_on else "", words.GOOD),
            words.words(verdict.node, words.HEAD if verdict.chosen else ""),
            Text("yes", words.GOOD) if verdict.chosen else Text("no", words.FAINT),
            Text("-" if verdict.score is None else f"{verdict.score:.3f}"),
            Text(words.safe(verdict.sentence), "" if verdict.score is not None else words.WARN),
        )
    notes = [Text(words.safe(note), words.FAINT) for note in found.notes]
    more = len(found.verdicts) - MOST
    notes += [Text(f"… and {more} more nodes: see --json", words.FAINT)] if more > 0 else []
    return Group(head, table, *notes)

"""`tierctl health`: how the decision service is."""

from rich.console import Group, RenderableType
from rich.text import Text

from tierwise.messages import Health
from tierwise_cli.show import words


def health(answer: Health) -> RenderableType:
    """A few lines, the problems last."""
    silent = f", {answer.nodes_silent} silent" if answer.nodes_silent else ""
    lines = [
        Text.assemble(
            ("fine" if answer.ok else "degraded", words.GOOD if answer.ok else words.BAD),
            f"  decision service {words.safe(answer.version)}",
        ),
        Text(f"  nodes     {answer.nodes_up} up{silent}"),
        Text(f"  database  {words.safe(answer.database)}"),
        Text(f"  spooled   {answer.spooled} reports wait for the database"),
    ]
    lines += [Text(f"  problem   {words.safe(problem)}", words.WARN) for problem in answer.problems]
    return Group(*lines)

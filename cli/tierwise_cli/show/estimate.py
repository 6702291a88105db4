"""`tierctl plan --dry-run`: what history, or a training job's own numbers, say that it needs."""

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from tierwise.messages import EstimateAnswer
from tierwise.units import format_size
from tierwise_cli.show import words
from tierwise_policy.containers import Containers, Training, training_seconds


def estimate(answer: EstimateAnswer) -> RenderableType:
    """What a job needs, with the basis of each number beside it."""
    if not answer.runs:
        return Text("No history of such a job: nothing can be said about what it needs.\n", words.FAINT)
    table = words.table("IT NEEDS", "AMOUNT", "BY", right=("AMOUNT",))
    if answer.memory:
        table.add_row(Text("memory on each node"), words.size(answer.memory), Text(words.safe(answer.basis)))
    if answer.hot:
        table.add_row(Text("of it hot"), words.size(answer.hot), Text("what took most of the accesses"))
    if answer.seconds:
        time = Text(words.duration(answer.seconds))
        table.add_row(Text("time"), time, Text(words.safe(answer.time_basis)))
    return Padding(table, (0, 0, 1, 0))


def containers(training: Training, found: Containers) -> RenderableType:
    """The number of containers, what each needs, and why it can't be done."""
    if found.why_not:
        return Text.assemble(("can't fit: ", words.WARN), words.safe(found.why_not))
    each = f"{found.count} containers of {format_size(found.memory)} each"
    items = -(-training.items // found.count)
    share = f", with {items} items of the data set in each" if items else ""
    paid = training_seconds(training, found)
    time = f", and {words.duration(paid)} of time for that cost" if paid else ""
    return Text.assemble((each, words.GOOD), share, time)

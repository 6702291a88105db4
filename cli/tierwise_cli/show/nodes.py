"""`tierctl nodes`: what each node is made of."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from tierwise.messages import NodeView
from tierwise_cli.show import words


def nodes(views: Sequence[NodeView]) -> RenderableType:
    """A line a tier, a node's name before its first."""
    if not views:
        return Text("No node has reported yet. Does tierwise-agent run on the nodes?")
    numbers = ("CAPACITY", "FREE", "LATENCY", "BANDWIDTH")
    table = words.table("NODE", "STATE", "TIER", "NUMA", *numbers, "FROM", right=numbers, cut=("NODE", "NUMA"))
    for view in views:
        sample = view.sample
        state = Text(view.state, words.GOOD if view.state == "up" else words.BAD)
        head = (words.words(sample.node, words.HEAD), state)
        for tier in sorted(sample.tiers, key=lambda tier: tier.rank):
            table.add_row(
                *head,
                words.words(tier.name),
                words.words(",".join(map(str, tier.numa_nodes))),
                words.size(tier.capacity),
                words.size(tier.free),
                Text(f"{tier.latency_ns} ns"),
                Text(words.bandwidth(tier.bandwidth)),
                Text(tier.source, words.FAINT),
            )
            head = (Text(""), Text(""))
    return table

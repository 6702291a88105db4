"""The load of nodes: what is in use of each resource, and what of it is not Slurm's."""

from collections.abc import Mapping

from rich.console import RenderableType
from rich.text import Text

from tierwise.telemetry import RESOURCES, NodeLoad, Resource
from tierwise_cli.show import words

BUSY = 0.5


def loads(found: Mapping[str, NodeLoad]) -> RenderableType:
    """A line a node: shares in use, in brackets what others than Slurm's jobs use."""
    names = ("CPU", "MEMORY", "NETWORK", "GPU", "GPU MEMORY")
    table = words.table("NODE", *names, "PEERS", right=(*names, "PEERS"), cut=("NODE",))
    for node, load in sorted(found.items()):
        latency = load.measurement.latency_ns
        shares = [_share(load, resource) for resource in RESOURCES]
        table.add_row(words.words(node, words.HEAD), *shares, Text(f"{latency / 1e3:.0f} µs" if latency else "-"))
    return table


def _share(load: NodeLoad, resource: Resource) -> Text:
    if resource in ("gpu", "gpu_memory") and not load.hardware.gpus:
        return Text("-", words.FAINT)
    if resource == "network" and not load.hardware.network:
        return Text("?", words.FAINT)
    total, others = load.measurement.total.share(resource), load.measurement.others.share(resource)
    return Text(f"{total:.0%} ({others:.0%})", words.WARN if others >= BUSY else "")

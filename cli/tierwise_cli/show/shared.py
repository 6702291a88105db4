"""`tierctl shared list`: the named regions of this host's nodes."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from tierwise.messages import RegionView
from tierwise_cli.show import words


def shared(regions: Mapping[str, Sequence[RegionView]]) -> RenderableType:
    """A line a region, by node and name."""
    if not any(regions.values()):
        return Text("No regions of yours on this host.")
    table = words.table("NODE", "NAME", "SIZE", "TIERS", "HELD BY", "OWNER", right=("SIZE",), cut=("NODE", "HELD BY"))
    for node, here in regions.items():
        for region in sorted(here, key=lambda region: region.name):
            table.add_row(
                words.words(node),
                words.words(region.name),
                words.size(region.size),
                words.words(words.briefly(region.tiers) if region.tiers else "anywhere"),
                words.words(_holders(region), words.GOOD if region.held else words.FAINT),
                words.words(words.user(region.uid)),
            )
    return table


def _holders(region: RegionView) -> str:
    processes = ", ".join(map(str, region.holders)) or ("a forked child" if region.held else "-")
    if region.dropped:
        return f"{processes}, dropped"
    return f"{processes}, retained" if region.retained else processes

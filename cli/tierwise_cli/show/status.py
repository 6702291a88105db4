"""`tierctl status`: every tier of every node as a bar, divided by the jobs that fill it."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tierwise.messages import JobSample, NodeView
from tierwise.tiers import Tier
from tierwise.units import format_size
from tierwise_cli.show import words
from tierwise_cli.show.bars import OTHERS, Bar, Piece, glyph, job_look

WIDE = 130
"""From this many columns on, a node's jobs stand beside its bars, not below them."""
JOBS_SHOWN = 6
"""As many jobs a node as there are colours; the rest is one line."""
FULL = 0.9
"""A tier is shown as nearly full from here on."""


def status(views: Sequence[NodeView]) -> RenderableType:
    """The picture of `views`."""
    if not views:
        return Text("No node has reported yet. Does tierwise-agent run on the nodes?")
    return Group(*(_NodePicture(view) for view in views))


class _NodePicture:
    """One node; it arranges itself by the width that it finds."""

    def __init__(self, view: NodeView) -> None:
        self._view = view

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        jobs = sorted(self._view.sample.jobs, key=lambda job: -sum(job.found.values()))
        tiers = _tiers(self._view.sample.tiers, jobs[:JOBS_SHOWN])
        legend = _legend(jobs, options.ascii_only)
        yield _head(self._view)
        if options.max_width < WIDE:
            yield Padding(Group(tiers, Padding(legend, (0, 0, 0, 2))) if jobs else tiers, (0, 0, 1, 2))
        else:
            both = Table.grid(padding=(0, 4, 0, 0), expand=True)
            both.add_column(ratio=1)
            both.add_column(ratio=1)
            both.add_row(tiers, legend if jobs else "")
            yield Padding(both, (0, 0, 1, 2))


def _head(view: NodeView) -> Text:
    up = view.state == "up"
    return Text.assemble(
        (words.safe(view.sample.node), words.HEAD),
        "  ",
        ("up" if up else "silent", words.GOOD if up else words.BAD),
        (
            f", heard of {words.duration(view.age)} ago, agent {words.safe(view.sample.version)}",
            words.FAINT,
        ),
    )


def _tiers(tiers: Sequence[Tier], jobs: Sequence[JobSample]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(ratio=1, min_width=10)
    grid.add_column(no_wrap=True, justify="right", min_width=len("812.5 MiB of 192 GiB"))
    grid.add_column(no_wrap=True, justify="right", min_width=len("100%"))
    for tier in sorted(tiers, key=lambda tier: tier.rank):
        used = tier.capacity - tier.free
        share = used / tier.capacity if tier.capacity else 0
        grid.add_row(
            words.words(tier.name, words.HEAD),
            Text(f"{tier.latency_ns} ns", words.FAINT),
            Bar(tier.capacity, _pieces(tier, jobs)),
            Text(f"{format_size(used)} of {format_size(tier.capacity)}"),
            Text(f"{share:.0%}", words.WARN if share >= FULL else ""),
        )
    return grid


def _pieces(tier: Tier, jobs: Sequence[JobSample]) -> tuple[Piece, ...]:
    pieces = [Piece(job.found.get(tier.name, 0), *job_look(place)) for place, job in enumerate(jobs)]
    others = tier.capacity - tier.free - sum(piece.size for piece in pieces)
    return (*pieces, Piece(max(others, 0), OTHERS, words.FAINT))


def _legend(jobs: Sequence[JobSample], ascii_only: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for cut in (False, False, True, True, True, False):
        grid.add_column(no_wrap=not cut)
    for place, job in enumerate(jobs[:JOBS_SHOWN]):
        look, colour = job_look(place)
        grid.add_row(
            Text(glyph(look, ascii_only) * 2, colour),
            Text(str(job.key.job_id)),
            words.words(words.user(job.uid)),
            words.words(words.directive(job.directive), "" if job.directive else words.FAINT),
            words.words(words.briefly(job.found)),
            _remark(job),
        )
    rest = len(jobs) - JOBS_SHOWN
    others = f"{glyph(OTHERS, ascii_only) * 2} {f'{rest} more jobs, and ' if rest > 0 else ''}other use"
    return Group(grid, Text(others, words.FAINT))


def _remark(job: JobSample) -> Text:
    if job.suspended:
        return Text("suspended", words.WARN)
    if job.agrees is False:
        return Text("not as planned", words.WARN)
    if job.plan is not None and job.plan.degraded:
        return Text("degraded", words.WARN)
    return Text("as planned", words.GOOD) if job.agrees else Text("")

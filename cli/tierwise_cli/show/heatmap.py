"""`tierctl job ID --heatmap`: where (down) and when (to the right) a job accessed its memory on one node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from tierwise.errors import ConfigError
from tierwise.messages import Heatmap, NodeName
from tierwise.units import format_size
from tierwise_cli.show import words

RAMP = (17, 19, 55, 91, 127, 163, 199, 203, 209, 215, 221, 227)
"""Colours from not accessed to always, of the 256 that terminals have."""
GLYPHS = " .:-=+*%@#"
"""The same without colours."""


class HeatmapPicture:
    """One node's heatmap."""

    def __init__(self, node: NodeName, heatmap: Heatmap) -> None:
        self._node, self._heatmap = node, heatmap

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heatmap, plain = self._heatmap, options.ascii_only or console.color_system is None
        yield Text.assemble((words.safe(self._node), words.HEAD), f"  {_summary(heatmap)}")
        width = max(options.max_width - 29, 8)
        labels = _labels(heatmap)
        for label, row in zip(labels, heatmap.rows, strict=True):
            yield Segment(label)
            for cell in row.cells[-width:]:
                yield _plain(cell) if plain else _coloured(cell)
            yield Segment.line()
        if heatmap.times:
            begun, ended = (_clock(at) for at in (heatmap.times[-width:][0], heatmap.times[-1]))
            yield Text(f"{'':28}{begun} … {ended}", words.FAINT)


def _summary(heatmap: Heatmap) -> str:
    trust = "" if heatmap.trusted else ", hot and cold pages can't be told apart: nothing is promoted on this"
    part = "" if heatmap.processes == heatmap.tracked else f" (the largest {heatmap.tracked} of {heatmap.processes})"
    return (
        f"working set {format_size(heatmap.working_set)}, of it {format_size(heatmap.hot)} take 80 % of the accesses; "
        f"by {heatmap.tracker}{part}{trust}"
    )


def _labels(heatmap: Heatmap) -> Iterator[str]:
    """The process where a new one begins, and where each row begins."""
    last = None
    for row in heatmap.rows:
        process = f"{row.pid:>8}" if row.pid != last else ""
        last = row.pid
        yield f"  {process:>8} {row.start:>16x} "


def _share(cell: int) -> float:
    return (cell - 1) / 254


def _coloured(cell: int) -> Segment:
    if not cell:
        return Segment(" ")
    return Segment(" ", Style(bgcolor=f"color({RAMP[round(_share(cell) * (len(RAMP) - 1))]})"))


def _plain(cell: int) -> Segment:
    return Segment(" " if not cell else GLYPHS[1 + round(_share(cell) * (len(GLYPHS) - 2))])


def _clock(at: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at / 1e9))


def write_png(heatmaps: dict[NodeName, Heatmap], path: Path) -> None:
    """The heatmaps as a picture, a panel a node. Raises ConfigError without matplotlib (the extra `plot`)."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  half a second
    except ImportError:
        raise ConfigError("a picture needs matplotlib: pip install 'tierwise[plot]'") from None
    figure = Figure(figsize=(9, 0.8 + 4 * len(heatmaps)), layout="constrained")
    panels = figure.subplots(len(heatmaps), squeeze=False)
    for (node, heatmap), (panel,) in zip(heatmaps.items(), panels, strict=True):
        seconds = [(at - heatmap.times[0]) / 1e9 for at in heatmap.times] if heatmap.times else [0.0]
        cells = [[(cell - 1) / 254 if cell else float("nan") for cell in row.cells] for row in heatmap.rows]
        image = panel.imshow(
            cells or [[float("nan")]],
            aspect="auto",
            interpolation="nearest",
            origin="lower",
            extent=(0.0, max(seconds[-1], 1.0), 0.0, float(max(len(cells), 1))),
            cmap="inferno",
            vmin=0,
            vmax=1,
        )
        ticks = range(0, len(cells), max(len(cells) // 8, 1))
        panel.set_yticks(
            [at + 0.5 for at in ticks], [f"{heatmap.rows[at].pid} {heatmap.rows[at].start:x}" for at in ticks]
        )
        panel.set_xlabel("seconds")
        panel.set_title(f"job {heatmap.job_id} on {node}: {_summary(heatmap)}", fontsize=8, wrap=True)
        figure.colorbar(image, ax=panel, label="share of the samples in which it was accessed")
    figure.savefig(path, dpi=120, format="png")

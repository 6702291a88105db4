"""The heat of a job over its life: frames of ranges, bounded in number and size, and the picture made of them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tierwise_policy.heat import Ranges, Window, sizes

FRAMES, RANGES = 96, 96
"""At most so many windows are kept of a job, with so many ranges each: 256 KiB in all."""
_ADDRESS_BITS = 57
NOTHING, COLD, HOTTEST = 0, 1, 255
"""A cell where no range was; one that was never accessed; one accessed in every sample."""


@dataclass(frozen=True, eq=False)
class Picture:
    """`cells[row, column]`: heat from COLD to HOTTEST, by place and time; `times` (ns) of the columns.

    Rows are equal shares of all that was ever seen, holes left out: of process `pids`, from `starts` to `ends` (where
    another process follows within the row, to the end of this one).
    """

    times: tuple[int, ...]
    pids: npt.NDArray[np.int32]
    starts: npt.NDArray[np.uint64]
    ends: npt.NDArray[np.uint64]
    cells: npt.NDArray[np.uint8]


@dataclass
class History:
    """The windows of one job, thinned out as they become many: every other one is dropped, and no longer taken."""

    frames: list[tuple[int, Ranges]] = field(default_factory=list)
    stride: int = 1
    _passed: int = 0

    def add(self, window: Window) -> None:
        """Keep a window, coarsened, where its turn is."""
        self._passed += 1
        if self._passed % self.stride == 0:
            self.frames.append((window.time, coarsen(window.ranges, RANGES)))
        if len(self.frames) > FRAMES:
            self.frames = self.frames[1::2]
            self.stride *= 2

    def picture(self, rows: int, columns: int) -> Picture:
        """All frames, evenly thinned to at most `columns`, on at most `rows` rows."""
        step = -(-len(self.frames) // columns) if columns else 1
        frames = self.frames[::-1][:: max(step, 1)][::-1]
        seen = [ranges for _, ranges in frames if len(ranges)]
        if not seen:
            none = np.empty(0, np.uint64)
            return Picture((), np.empty(0, np.int32), none, none, np.empty((0, 0), np.uint8))
        pids = np.unique(np.concatenate([ranges["pid"] for ranges in seen]))[: 1 << (63 - _ADDRESS_BITS)]
        starts, ends = _union(
            *(np.concatenate(each) for each in zip(*(_keys(ranges, pids) for ranges in seen), strict=True))
        )
        places = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.float64)
        edges = np.linspace(0, places[-1], min(rows, len(starts) * rows) + 1)
        cells = np.stack([_column(ranges, pids, starts, places, edges) for _, ranges in frames], axis=1)
        first, last = (_addresses(place, starts, places) for place in (edges[:-1], edges[1:] - 1))
        high, low = np.uint64(_ADDRESS_BITS), np.uint64((1 << _ADDRESS_BITS) - 1)
        rank = first >> high
        own = ends[np.searchsorted(starts, (rank + np.uint64(1)) << high) - 1]  # the end of its process's last area
        last, owner = np.minimum(last, own - np.uint64(1)), pids[rank.astype(np.int64)].astype(np.int32)
        return Picture(tuple(time for time, _ in frames), owner, first & low, (last & low) + np.uint64(1), cells)


def coarsen(ranges: Ranges, most: int) -> Ranges:
    """At most `most` ranges: neighbours that touch and are about as hot become one; then the smallest are dropped."""
    ordered: Ranges = ranges[np.lexsort((ranges["start"], ranges["pid"]))]
    if len(ordered) <= most:
        return ordered
    touch = (ordered["pid"][1:] == ordered["pid"][:-1]) & (ordered["start"][1:] == ordered["end"][:-1])
    apart = np.where(touch, np.abs(np.diff(ordered["heat"])), np.inf)
    nearest = np.argsort(apart, kind="stable")[: len(ordered) - most]
    joined = np.zeros(len(apart), bool)
    joined[nearest] = np.isfinite(apart[nearest])
    heads = np.flatnonzero(np.concatenate([[True], ~joined]))
    size = sizes(ordered)
    merged: Ranges = ordered[heads].copy()
    merged["end"] = ordered["end"][np.concatenate([heads[1:], [len(ordered)]]) - 1]
    merged["heat"] = np.add.reduceat(size * ordered["heat"], heads) / np.add.reduceat(size, heads)
    if len(merged) > most:
        merged = merged[np.sort(np.argsort(-sizes(merged), kind="stable")[:most])]
    return merged


Keys = npt.NDArray[np.uint64]


def _keys(ranges: Ranges, pids: npt.NDArray[np.int32]) -> tuple[Keys, Keys]:
    """Starts and ends on one axis: a process after the other."""
    of_these = ranges[np.isin(ranges["pid"], pids)]
    base = np.searchsorted(pids, of_these["pid"]).astype(np.uint64) << np.uint64(_ADDRESS_BITS)
    return base | of_these["start"], base | of_these["end"]


def _union(starts: Keys, ends: Keys) -> tuple[Keys, Keys]:
    """What any of the ranges covers, as few areas that ascend."""
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    first = np.concatenate([[True], starts[1:] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return starts[first], reach[last]


def _addresses(places: npt.NDArray[np.float64], starts: Keys, ends_of: npt.NDArray[np.float64]) -> Keys:
    """From places on the axis without holes back to keys."""
    area = np.clip(np.searchsorted(ends_of, places, "right") - 1, 0, len(starts) - 1)
    keys: Keys = starts[area] + (places - ends_of[area]).astype(np.uint64)
    return keys


def _column(
    ranges: Ranges,
    pids: npt.NDArray[np.int32],
    starts: Keys,
    places: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
) -> npt.NDArray[np.uint8]:
    """The mean heat between each two edges, as cells."""
    ordered: Ranges = ranges[np.lexsort((ranges["start"], ranges["pid"]))]
    begin, end = _keys(ordered, pids)
    if not len(begin):
        return np.zeros(len(edges) - 1, np.uint8)
    area = np.searchsorted(starts, begin, "right") - 1
    from_, until = (places[area] + (key - starts[area]).astype(np.float64) for key in (begin, end))
    points = np.stack([from_, until], axis=1).ravel()
    heat = np.asarray(ordered["heat"][: len(begin)], np.float64)
    covered = _between(points, np.ones(len(begin)), until - from_, edges)
    accessed = _between(points, heat, until - from_, edges)
    mean = accessed / np.maximum(covered, 1)
    return np.where(covered > 0, COLD + np.round(mean * (HOTTEST - COLD)), NOTHING).astype(np.uint8)


def _between(
    points: npt.NDArray[np.float64],
    density: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    mass = np.cumsum(lengths * density)
    passed = np.stack([mass - lengths * density, mass], axis=1).ravel()
    return np.diff(np.interp(edges, points, passed))

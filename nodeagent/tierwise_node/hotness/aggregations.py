"""What kdamonds find, read from the kernel's trace: an event per region at the end of each aggregation.

The trace costs a line a region, without a wait, where DAMON's sysfs has four files a region and waits for the
aggregation to end. It needs tracefs: an instance of our own in it, so that nobody else's tracing is disturbed.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise_node.hotness.kdamonds import EVENT

BUFFER_KB = 512
"""Per CPU; an aggregation is 64 bytes a region."""
MOST_READ = 8 << 20
"""Bytes of the trace read in one go: other users' kdamonds may fill it."""
_LINE = re.compile(rb"-(\d+) +\[\d+\][^\n]*? damon_aggregated: target_id=(\d+) nr_regions=(\d+ \d+-\d+: \d+ \d+)\n")
_TO_SPACES = bytes.maketrans(b"-:", b"  ")


class Region(NamedTuple):
    """Columns of an aggregation: [start, end), samples that found it accessed, aggregations without a change."""

    start: npt.NDArray[np.uint64]
    end: npt.NDArray[np.uint64]
    accesses: npt.NDArray[np.uint64]
    age: npt.NDArray[np.uint64]


Key = tuple[int, int]
"""A kdamond's pid and the number of one of its targets."""


class Aggregations:
    """Our instance of the trace. Raises OSError where it can't be made."""

    def __init__(self, place: Path, name: str) -> None:
        self._folder = place / "instances" / name
        self._folder.mkdir(exist_ok=True)  # a killed agent left it
        (self._folder / "buffer_size_kb").write_text(str(BUFFER_KB))
        (self._folder / EVENT / "enable").write_text("1")
        self._pipe = os.open(self._folder / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""
        self.lost = 0
        """Aggregations that were not whole: the trace ran over, or was cut."""

    def read(self) -> dict[Key, Region]:
        """The newest whole aggregation of each target since the last call."""
        text = self._rest + self._new()
        end = text.rfind(b"\n") + 1
        self._rest = text[end:]
        rows: dict[tuple[bytes, bytes], list[bytes]] = {}
        for kdamond, target, row in _LINE.findall(text[:end]):
            rows.setdefault((kdamond, target), []).append(row)
        found = {(int(kdamond), int(target)): self._last_whole(its) for (kdamond, target), its in rows.items()}
        return {key: region for key, region in found.items() if region is not None}

    def close(self) -> None:
        """Take our instance away."""
        os.close(self._pipe)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _new(self) -> bytes:
        chunks, size = [], 0
        with contextlib.suppress(BlockingIOError):
            while size < MOST_READ and (chunk := os.read(self._pipe, 1 << 16)):
                chunks.append(chunk)
                size += len(chunk)
        return b"".join(chunks)

    def _last_whole(self, lines: list[bytes]) -> Region | None:
        """The regions of one aggregation come together, in ascending order, and each says how many there are."""
        count = int(lines[-1].split(b" ", 1)[0])
        text = b" ".join(lines[-count:]).translate(_TO_SPACES)
        last = np.fromstring(text, np.uint64, sep=" ").reshape(-1, 5)
        whole = len(last) == count and bool((last[:, 0] == count).all() and (last[1:, 1] >= last[:-1, 2]).all())
        self.lost += not whole
        return Region(*(last[:, column] for column in range(1, 5))) if whole else None

"""What the memory clock counted: its file, read back (csrc/tierclock/counts.h says what a line holds)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINE = 64
ON, OFF, BEGIN, END, INTERVAL = "nfbei"
FIELDS = 3
"""Instructions, loads, stores; then for each node the lines that were waited for, fetched ahead and written back."""


@dataclass(frozen=True)
class Slices:
    """What one CPU did, cut into slices of a few million instructions: `instructions` [slices]; `demand`, `stream` and
    `written` [slices, nodes] in cache lines."""

    instructions: NDArray[np.int64]
    demand: NDArray[np.int64]
    stream: NDArray[np.int64]
    written: NDArray[np.int64]

    @property
    def bytes(self) -> NDArray[np.int64]:
        """Bytes that crossed each node's bus [slices, nodes]."""
        return (self.demand + self.stream + self.written) * LINE


@dataclass(frozen=True)
class Session:
    """From the clock's start to its stop: by CPU, all that it did, and what lay between the marks of its program."""

    all: dict[int, Slices]
    program: dict[int, Slices]


def sessions(lines: Iterable[str]) -> list[Session]:
    """The sessions in the clock's file. ValueError for a file that ends within one."""
    found: list[Session] = []
    rows: list[tuple[str, int, list[int]]] = []
    for line in lines:
        kind, cpu, *counts = line.split()
        row = (kind, int(cpu), [int(count) for count in counts])
        if kind == ON and rows and rows[-1][0] == OFF:
            found.append(_session(rows))
            rows = []
        rows.append(row)
    if not rows or rows[-1][0] != OFF:
        raise ValueError("the clock was not stopped: its file ends within a session")
    return [*found, _session(rows)]


def _session(rows: list[tuple[str, int, list[int]]]) -> Session:
    everything: dict[int, list[list[int]]] = {}
    program: dict[int, list[list[int]]] = {}
    working: set[int] = set()
    for kind, cpu, counts in rows:
        everything.setdefault(cpu, [] if kind == ON else [[0] * len(counts)]).append(counts)
        if kind == BEGIN:
            working.add(cpu)
        if cpu in working:
            program.setdefault(cpu, []).append(counts)
        if kind == END:
            working.discard(cpu)
    return Session({cpu: _slices(found) for cpu, found in everything.items()},
                   {cpu: _slices(found) for cpu, found in program.items()})  # fmt: skip


def _slices(rows: list[list[int]]) -> Slices:
    table = np.array(rows, dtype=np.int64)
    steps = table[1:] - table[:-1]
    traffic = steps[:, FIELDS:].reshape(len(steps), -1, 3)
    return Slices(steps[:, 0], traffic[:, :, 0], traffic[:, :, 1], traffic[:, :, 2])

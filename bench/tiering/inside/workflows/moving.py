"""Synthetic: random look-ups in a hot quarter of a table; now and then another quarter becomes the hot one."""

from pathlib import Path

import numpy as np

ENTRIES = 8 << 20  # of 8 bytes
LOOKUPS = 1 << 16
TURNS, JUMPS = 60, 4


def work(data: Path) -> str:
    """The sum of what was found. No input."""
    table = np.arange(ENTRIES, dtype=np.int64)
    hot = ENTRIES // 4
    source = np.random.default_rng(1)
    places, found = source.integers(0, hot, LOOKUPS), np.empty(LOOKUPS, dtype=np.int64)
    total = 0
    for jump in (0, 2, 1, 3)[:JUMPS]:
        window = table[jump * hot : (jump + 1) * hot]
        for _ in range(TURNS):
            np.add(places, 104729, out=places)
            np.bitwise_and(places, hot - 1, out=places)
            np.take(window, places, out=found, mode="wrap")
            total += int(found.sum())
    return f"sum {total}"

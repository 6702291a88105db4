"""A load of which we know what is hot: touches the pages of a hot set in memory that is larger, for ever.

`python -m tierwise_lab.touch 400 contiguous 80` holds 400 MiB and touches 80 MiB of them: `contiguous`, `hashed`
(pages all over the memory), or `zipf` (every page, the n-th one with chance 1/n, all over the memory; the hot set is
what takes 80 %). It prints `ADDRESS PAGES`, then works. SIGUSR1: the hot set jumps to other pages. SIGUSR2: it stops
touching, until the next. `--node N` allocates there, and leaves the process without a policy of its own.

A guest without hardware virtualisation keeps translations so long that a page never looks accessed twice: `--flush`
starts a child on the same CPU whose sleeping and waking makes the CPU forget them.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import signal
import time

import numpy as np
import numpy.typing as npt

PAGE = mmap.PAGESIZE
MIB = 1 << 20
SHARE = 0.8
BATCH = 4096
_PREFERRED, _DEFAULT, _SET_MEMPOLICY = 1, 0, 238  # linux/mempolicy.h; x86_64

Pages = npt.NDArray[np.int64]


def hot_pages(pages: int, manner: str, hot: int, jumps: int) -> Pages:
    """The numbers of the hot pages after so many jumps; tests ask for the truth here."""
    if manner == "contiguous":
        return np.arange(hot) + (jumps * 2 + 1) * hot % max(pages - hot + 1, 1)
    order = np.random.default_rng(jumps).permutation(pages)
    if manner == "zipf":
        weights = 1 / np.arange(1, pages + 1)
        hot = int(np.searchsorted(np.cumsum(weights), SHARE * weights.sum())) + 1
    return order[:hot]


def touches(pages: int, manner: str, hot: int, jumps: int) -> Pages:
    """The pages to touch, in this order, over and over."""
    if manner != "zipf":
        return hot_pages(pages, manner, hot, jumps)
    weights = 1 / np.arange(1, pages + 1)
    source = np.random.default_rng(1000 + jumps)
    ranks = source.choice(pages, 64 * BATCH, p=weights / weights.sum())
    return np.random.default_rng(jumps).permutation(pages)[ranks]


def _memory(size: int, node: int | None) -> npt.NDArray[np.uint8]:
    libc = ctypes.CDLL(None, use_errno=True)
    if node is not None:
        mask = (ctypes.c_ulong * 2)(1 << node)
        libc.syscall(_SET_MEMPOLICY, _PREFERRED, mask, 65)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    view = np.frombuffer(memory, np.uint8)
    view[::PAGE] = 1
    if node is not None:
        libc.syscall(_SET_MEMPOLICY, _DEFAULT, None, 0)
    return view


def _flush_with(parent: int) -> None:
    """In a child: wake and sleep until the parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.004)
    os._exit(0)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mib", type=int)
    parser.add_argument("manner", choices=["contiguous", "hashed", "zipf"])
    parser.add_argument("hot", type=int, help="MiB")
    parser.add_argument("--node", type=int)
    parser.add_argument("--cpu", type=int, default=0)
    parser.add_argument("--flush", action="store_true")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds between two rounds")
    given = parser.parse_args()
    parent = os.getpid()
    os.sched_setaffinity(0, {given.cpu})
    if given.flush and os.fork() == 0:
        _flush_with(parent)
    pages, hot = given.mib * MIB // PAGE, given.hot * MIB // PAGE
    first = _memory(given.mib * MIB, given.node)[::PAGE]
    jumps, idle = 0, False

    def jump(*_: object) -> None:
        nonlocal jumps
        jumps += 1

    def pause(*_: object) -> None:
        nonlocal idle
        idle = not idle

    signal.signal(signal.SIGUSR1, jump)
    signal.signal(signal.SIGUSR2, pause)
    print(first.ctypes.data, pages, flush=True)
    done, order = 0, touches(pages, given.manner, hot, 0)
    while True:
        if done != jumps:
            done = jumps
            order = touches(pages, given.manner, hot, done)
        if idle:
            signal.pause()
        for at in range(0, len(order), BATCH):
            first[order[at : at + BATCH]].sum()
        time.sleep(given.rest)


if __name__ == "__main__":
    main()

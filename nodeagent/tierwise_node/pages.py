"""The page engine's Python face: the only place where its errno becomes an exception (csrc/pages/pages.h).

No call holds the interpreter's lock, and no list of pages ever reaches Python.
"""

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.plans import Moves
from tierwise_node._pages import ffi as _ffi
from tierwise_node._pages import lib as _lib

MAX_NODES: int = _lib.PAGES_MAX_NODES


@dataclass(frozen=True)
class Moved:
    """What one call moved. The counts are base pages; `refusals` says why pages were refused, by kind.

    `cursor` is the address to go on from, 0 when the end of the process was reached; `ended`: the process is gone.
    """

    moves: Moves
    refusals: dict[str, int]
    cursor: int = 0
    ended: bool = False


def count(pid: int) -> dict[int, int]:
    """Bytes of the movable pages (anonymous, and shared memory) of a process by NUMA node.

    Raises ProcessLookupError when it has ended and OSError for what else the kernel refuses.
    """
    sizes = _ffi.new(f"uint64_t[{MAX_NODES}]")
    _check(_lib.pages_count(pid, sizes), f"count the pages of process {pid}")
    return {node: int(size) for node, size in enumerate(sizes) if size}


def move(pid: int, sources: Sequence[int], targets: Sequence[int], limit: int, cursor: int = 0) -> Moved:
    """Move at most `limit` bytes of a process from the nodes of `sources` to `targets`, verified.

    The first target node with room takes them. A process that ends meanwhile is an outcome, not an error.
    Raises OSError for what else the kernel refuses (EACCES: a target is outside the process's cpuset).
    """
    moves, at = _ffi.new("struct pages_moves *"), _ffi.new("uint64_t *", cursor)
    mask = sum(1 << node for node in sources)
    status = _lib.pages_move(pid, mask, list(targets), len(targets), limit, at, moves)
    ended = status == -_ESRCH
    if not ended and not moves.asked:
        _check(status, f"move pages of process {pid} to nodes {list(targets)}")
    return Moved(
        Moves(moves.asked, moves.landed, moves.refused, moves.bounced),
        {kind: count for kind in _KINDS if (count := int(getattr(moves, kind)))},
        int(at[0]),
        ended,
    )


def probe(node: int, budget_ms: int = 50) -> tuple[int, int]:
    """Measured latency (ns) and bandwidth (bytes per second, one thread) of a node. Raises OSError."""
    latency_ps, bandwidth = _ffi.new("uint64_t *"), _ffi.new("uint64_t *")
    _check(_lib.pages_probe(node, budget_ms, latency_ps, bandwidth), f"measure the memory of node {node}")
    return max(round(latency_ps[0] / 1000), 1), int(bandwidth[0])


def takes_policy(mode: int, nodes: Sequence[int]) -> bool:
    """Whether the kernel takes this set_mempolicy(2) mode, flags included, over `nodes`."""
    return bool(_lib.pages_try_policy(mode, sum(1 << node for node in nodes)) == 0)


def address_of(buffer: mmap.mmap) -> int:
    """Where a mapping of this process begins."""
    return int(_ffi.cast("uintptr_t", _ffi.from_buffer(buffer)))


_KINDS = ("shared", "busy", "no_memory", "gone", "other")
_ESRCH = 3


def _check(status: int, tried: str) -> None:
    if status < 0:
        raise OSError(-status, f"could not {tried}: {os.strerror(-status)}")

"""The page engine's Python face: the only place where its errno becomes an exception (csrc/pages/pages.h).

No call holds the interpreter's lock, and no list of pages ever reaches Python.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierwise.plans import Moves
from tierwise_node._pages import ffi as _ffi
from tierwise_node._pages import lib as _lib
from tierwise_node.kernel_files import read
from tierwise_node.numa import parse_list

if TYPE_CHECKING:  # numpy takes 20 MB and 0.1 s: an agent without jobs goes without
    import numpy as np
    import numpy.typing as npt

    Addresses = npt.NDArray[np.uint64]
    """Addresses of a process, one for each range; converted where they have another integer type."""
    Bytes = npt.NDArray[np.uint64]
    Counts = npt.NDArray[np.uint64]

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


def movable(pid: int, most: int) -> tuple[Addresses, Addresses] | None:
    """Starts and ends of a process's ranges that may be moved, ascending; None when it has more than `most`.

    Raises ProcessLookupError when it has ended.
    """
    import numpy as np  # noqa: PLC0415

    table = np.empty((2, most), np.uint64)
    found = _lib.pages_movable(pid, _addresses(table[0]), _addresses(table[1]), most)
    _check(found, f"read the areas of process {pid}")
    return None if found > most else (table[0, :found], table[1, :found])


def clean(pid: int) -> None:
    """Begin to watch a process for writes: each page costs it a minor fault at its next one. Raises OSError."""
    _check(_lib.pages_clean(pid), f"clear the soft-dirty bits of process {pid}")


def written(pid: int, starts: Addresses, ends: Addresses) -> tuple[Counts, Counts]:
    """Pages that are present in each range, and those of them that were written since `clean`. Raises OSError."""
    import numpy as np  # noqa: PLC0415

    table = np.zeros((2, len(starts)), np.uint64)
    begin, end = _addresses(starts), _addresses(ends)
    status = _lib.pages_written(pid, begin, end, len(starts), _addresses(table[0]), _addresses(table[1]))
    _check(status, f"read the soft-dirty bits of process {pid}")
    return table[0], table[1]


def locate(pid: int, starts: Addresses, ends: Addresses) -> Bytes:
    """Bytes of the movable pages in ranges [start, end) of a process by NUMA node: an array [range, node].

    Costs a walk of the pages: about 0.1 µs each. Raises ProcessLookupError when the process has ended.
    """
    import numpy as np  # noqa: PLC0415

    table = np.zeros((len(starts), _nodes()), np.uint64)
    begin, end = _addresses(starts), _addresses(ends)
    status = _lib.pages_locate(pid, begin, end, len(starts), _nodes(), _ffi.from_buffer("uint64_t[]", table))
    _check(status, f"locate the pages of process {pid}")
    return table


def move(
    pid: int, sources: Sequence[int], targets: Sequence[int], limit: int, cursor: int = 0, family: bool = False
) -> Moved:
    """Move at most `limit` bytes of a process from the nodes of `sources` to `targets`, verified.

    The first target node with room takes them. A process that ends meanwhile is an outcome, not an error. `family`:
    anonymous pages that relatives by fork map too are moved with it; else they are refused.
    Raises OSError for what else the kernel refuses (EACCES: a target is outside the process's cpuset).
    """
    moves, at = _ffi.new("struct pages_moves *"), _ffi.new("uint64_t *", cursor)
    mask = sum(1 << node for node in sources)
    status = _lib.pages_move(pid, mask, list(targets), len(targets), limit, family, at, moves)
    return _moved(f"move pages of process {pid} to nodes {list(targets)}", status, moves, int(at[0]))


def move_ranges(
    pid: int,
    starts: Addresses,
    ends: Addresses,
    sources: Sequence[int],
    targets: Sequence[int],
    limit: int,
    family: bool = False,
) -> Moved:
    """The same within ranges [start, end) only, in their order: the most urgent first. Huge pages belong to the range
    in which they begin. `cursor` of the answer is where the limit ended it.
    """
    moves, at = _ffi.new("struct pages_moves *"), _ffi.new("uint64_t *")
    mask = sum(1 << node for node in sources)
    begin, end = _addresses(starts), _addresses(ends)
    status = _lib.pages_move_ranges(
        pid, begin, end, len(starts), mask, list(targets), len(targets), limit, family, at, moves
    )
    return _moved(f"move pages of process {pid} to nodes {list(targets)}", status, moves, int(at[0]))


def page_out(pid: int, starts: Addresses, ends: Addresses, sources: Sequence[int], limit: int) -> Moved:
    """Page out at most `limit` bytes of a process, private anonymous pages within ranges [start, end) that lie on the
    nodes of `sources`, to swap: a zram takes the memory that it needs from these nodes. `landed`: it is swapped out.

    Raises OSError: ENOSYS before Linux 5.10, EPERM without CAP_SYS_NICE and CAP_SYS_PTRACE.
    """
    moves = _ffi.new("struct pages_moves *")
    mask = sum(1 << node for node in sources)
    status = _lib.pages_out(pid, _addresses(starts), _addresses(ends), len(starts), mask, limit, moves)
    return _moved(f"page process {pid} out", status, moves)


def only_kin_share(pid: int) -> bool:
    """Whether the anonymous pages of a job's process are shared, if at all, with relatives by fork since its exec.

    These are in the same job: a child begins in its parent's cgroup, and only root moves it elsewhere. Pages that KSM
    merged (Documentation/admin-guide/mm/ksm.rst) may be anybody's.
    """
    try:
        return int(read(f"/proc/{pid}/ksm_merging_pages")) == 0
    except (OSError, ValueError):  # a kernel without KSM, or before 5.19; or the process has ended: then it is empty
        return not Path("/sys/kernel/mm/ksm/run").exists()


def probe(node: int, budget_ms: int = 50) -> tuple[int, int]:
    """Measured latency (ns) and bandwidth (bytes per second, one thread) of a node. Raises OSError."""
    latency_ps, bandwidth = _ffi.new("uint64_t *"), _ffi.new("uint64_t *")
    _check(_lib.pages_probe(node, budget_ms, latency_ps, bandwidth), f"measure the memory of node {node}")
    return max(round(latency_ps[0] / 1000), 1), int(bandwidth[0])


def takes_policy(mode: int, nodes: Sequence[int]) -> bool:
    """Whether the kernel takes this set_mempolicy(2) mode, flags included, over `nodes`."""
    return bool(_lib.pages_try_policy(mode, sum(1 << node for node in nodes)) == 0)


def live_on(nodes: Sequence[int], others: Sequence[int]) -> None:
    """Have this process's memory on `nodes`, also what it has on `others` already; for this thread and those that it
    starts. Raises OSError: EALREADY where the thread has a memory policy."""
    status = _lib.pages_live_on(sum(1 << node for node in nodes), sum(1 << node for node in others))
    _check(status, f"have the agent's memory on nodes {list(nodes)}")


def address_of(buffer: mmap.mmap) -> int:
    """Where a mapping of this process begins."""
    return int(_ffi.cast("uintptr_t", _ffi.from_buffer(buffer)))


_KINDS = ("shared", "busy", "no_memory", "gone", "locked", "other")


def _moved(tried: str, status: int, moves: Any, cursor: int = 0) -> Moved:
    ended = status == -errno.ESRCH
    if not ended and not moves.asked:
        _check(status, tried)
    return Moved(
        Moves(moves.asked, moves.landed, moves.refused, moves.bounced),
        {kind: count for kind in _KINDS if (count := int(getattr(moves, kind)))},
        cursor,
        ended,
    )


def _addresses(addresses: Addresses) -> Any:
    """The array as C sees it; kept alive by what is returned."""
    import numpy as np  # noqa: PLC0415

    return _ffi.from_buffer("uint64_t[]", np.ascontiguousarray(addresses, np.uint64))


@cache
def _nodes() -> int:
    """One more than the highest node that this host can have."""
    possible = parse_list(Path("/sys/devices/system/node/possible").read_text())
    return min(max(possible, default=0) + 1, MAX_NODES)


def _check(status: int, tried: str) -> None:
    if status < 0:
        raise OSError(-status, f"could not {tried}: {os.strerror(-status)}")

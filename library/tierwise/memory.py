"""Memory where the program says that it belongs: numpy arrays, buffers and named regions on a node's tiers.

    from tierwise import memory

    grid = memory.array((4096, 4096), "f8", "lat")      # a numpy array on the fastest tier
    trace = memory.allocate(8 << 30, "cap")             # a buffer on the slowest
    memory.where(grid)                                  # {"dram": 134217728}

A hint is `lat`, `bw`, `cap` or `shl`, several with commas, or `tier:NAME`. It is granted by the node's agent within the
job's memory. Where nobody grants it, memory comes from wherever the kernel has some, and `taken` says so. The C
library's own description is csrc/libtierwise/tierwise.h; errno becomes OSError here and nowhere else.
"""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tierwise._memory import ffi as _ffi
from tierwise._memory import lib as _lib

if TYPE_CHECKING:
    import numpy.typing as npt

_FLAGS = {"lat": _lib.TIERWISE_LAT, "bw": _lib.TIERWISE_BW, "cap": _lib.TIERWISE_CAP, "shl": _lib.TIERWISE_SHL}
_MOST_SHARES = 80


class Taken(enum.IntEnum):
    """Whether a hint was taken; `Memory.reason` and OSError say why not."""

    TAKEN = _lib.TIERWISE_TAKEN
    PARTLY = _lib.TIERWISE_PARTLY
    NO_AGENT = _lib.TIERWISE_NO_AGENT
    REFUSED = _lib.TIERWISE_REFUSED
    IMPOSSIBLE = _lib.TIERWISE_IMPOSSIBLE
    NO_HINT = _lib.TIERWISE_NO_HINT


class Event(NamedTuple):
    """The agent is taking back what it granted on a tier: so many bytes of this process's."""

    tier: str
    size: int


class _Held:
    """`size` bytes of the library's, which go back to it by `give_back` when nothing uses them any more."""

    def __init__(self, pointer: Any, size: int, give_back: Any) -> None:
        self._give_back = give_back
        self._hold(pointer, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    @property
    def taken(self) -> Taken:
        """Whether its hint was taken."""
        return Taken(_check(_lib.tierwise_hint(self._pointer)))

    def _hold(self, pointer: Any, size: int) -> None:
        self._pointer, self.size = _ffi.gc(pointer, self._give_back), size
        self.view = memoryview(_ffi.buffer(self._pointer, size))

    def _grow(self, grow: Any, size: int) -> Any:
        """Where it is now, perhaps at another address: to be held anew. Raises BufferError, OSError."""
        self.view.release()
        pointer = self._pointer
        _ffi.gc(pointer, None)
        try:
            return _some(grow(pointer, size))
        except OSError:
            self._hold(pointer, self.size)
            raise

    def _release(self) -> None:
        self.view.release()
        _ffi.release(self._pointer)


class Memory(_Held):
    """A buffer: `view` is its memoryview of bytes. Freed when nothing uses it any more, or by `free`."""

    def __init__(self, pointer: Any, size: int, reason: str) -> None:
        super().__init__(pointer, size, _lib.tierwise_free)
        self.reason = reason

    def grow(self, size: int) -> None:
        """Make room for `size` bytes, perhaps at another address. Raises BufferError while arrays use it, OSError."""
        self._hold(self._grow(_lib.tierwise_grow, size), max(size, self.size))

    def free(self) -> None:
        """Give it back now. Raises BufferError while arrays use it."""
        self._release()


class Region(_Held):
    """A named region, shared with this user's other processes on the node. Closed when nothing uses it, or by `close`.

    `view` is its memoryview of bytes.
    """

    def __init__(self, name: str, pointer: Any) -> None:
        self.name = name
        super().__init__(pointer, int(_lib.tierwise_region_size(pointer)), _lib.tierwise_region_close)

    def grow(self, size: int) -> None:
        """Make it at least so large, and see all of it. Raises BufferError while arrays use it, OSError."""
        pointer = self._grow(_lib.tierwise_region_grow, size)
        self._hold(pointer, int(_lib.tierwise_region_size(pointer)))

    def close(self) -> None:
        """Stop holding it. Raises BufferError while arrays use it."""
        self._release()


def allocate(size: int, hint: str = "") -> Memory:
    """Memory for `size` bytes, not cleared. Raises OSError (ENOMEM), ValueError for a hint that is none."""
    if hint.startswith("tier:"):
        pointer = _lib.tierwise_alloc_on(size, _tier(hint))
    else:
        pointer = _lib.tierwise_alloc(size, _flags(hint))
    pointer = _some(pointer)
    return Memory(pointer, size, _reason())


def array(shape: int | tuple[int, ...], dtype: npt.DTypeLike = "f8", hint: str = "") -> npt.NDArray[Any]:
    """A numpy array, not cleared; its memory lives as long as it and what is cut from it. Raises as `allocate`."""
    import numpy as np  # noqa: PLC0415  only who asks for arrays needs numpy

    kind = np.dtype(dtype)
    if kind.hasobject:
        raise ValueError(f"an array of {kind} holds references, which can't lie in such memory")
    count = int(np.prod(shape, dtype=np.int64))
    memory = allocate(max(count * kind.itemsize, 1), hint)
    return np.frombuffer(memory.view, kind, count).reshape(shape)


def advise(buffer: Any, hint: str) -> Taken:
    """Say what existing memory (array, bytearray, mapping) is like; its whole pages move there. Raises OSError."""
    start, size = _extent(buffer)
    if hint.startswith("tier:"):
        status = _lib.tierwise_advise_on(start, size, _tier(hint))
    else:
        status = _lib.tierwise_advise(start, size, _flags(hint))
    return Taken(_check(status))


def taken(buffer: Any) -> Taken:
    """Whether the hint for an array of this module was taken. Raises OSError (EINVAL) for other memory."""
    return Taken(_check(_lib.tierwise_hint(_extent(buffer)[0])))


def where(buffer: Any) -> dict[str, int]:
    """Bytes by tier of the pages that memory lies on, whole pages; "" is what was never touched. Raises OSError."""
    shares = _ffi.new(f"struct tierwise_share[{_MOST_SHARES}]")
    count = _check(_lib.tierwise_where(*_extent(buffer), shares, _MOST_SHARES))
    return {_ffi.string(shares[i].tier).decode(): int(shares[i].bytes) for i in range(count)}


def open_region(
    name: str, size: int = 0, hint: str = "", *, create: bool = False, exclusive: bool = False, retain: bool = False
) -> Region:
    """Hold region `name`, of at least `size` bytes; `create` makes it if it isn't there, and `retain` keeps its data on
    the node's persistent tier when nobody holds it. Raises OSError: FileNotFoundError, FileExistsError, EDQUOT, ENOTSUP
    (nothing persistent here), ENOTCONN (no agent), PermissionError (no job).
    """
    if "\0" in name:
        raise ValueError("a region's name holds a NUL")
    options = create * _lib.TIERWISE_CREATE | exclusive * _lib.TIERWISE_EXCL | retain * _lib.TIERWISE_RETAIN
    if hint.startswith("tier:"):
        pointer = _lib.tierwise_region_open_on(name.encode(), size, _tier(hint), options)
    else:
        pointer = _lib.tierwise_region_open(name.encode(), size, _flags(hint), options)
    return Region(name, _some(pointer))


def drop_region(name: str) -> None:
    """Take a region's name away: retained or not, it ends with its last holder. Raises OSError."""
    _check(_lib.tierwise_region_drop(name.encode()))


def events() -> int:
    """A descriptor that can be read (select) while there are events; never close it. Raises OSError."""
    return _check(_lib.tierwise_events())


def next_event() -> Event | None:
    """The next event, None if there is none now. Raises OSError."""
    event = _ffi.new("struct tierwise_event *")
    if not _check(_lib.tierwise_next_event(event)):
        return None
    return Event(_ffi.string(event.tier).decode(), int(event.bytes))


def _tier(hint: str) -> bytes:
    return hint.removeprefix("tier:").encode()


def _flags(hint: str) -> int:
    flags = 0
    for word in filter(None, hint.lower().split(",")):
        if word not in _FLAGS:
            raise ValueError(f"{word!r} is no hint: use {', '.join(_FLAGS)} or tier:NAME")
        flags |= _FLAGS[word]
    return flags


def _extent(buffer: Any) -> tuple[Any, int]:
    """Address and bytes of a buffer, which is contiguous."""
    if isinstance(buffer, (Memory, Region)):
        buffer = buffer.view
    data = _ffi.from_buffer(buffer)
    return _ffi.cast("void *", data), len(data)


def _reason() -> str:
    return str(_ffi.string(_lib.tierwise_reason()).decode(errors="replace"))


def _check(status: int) -> int:
    if status < 0:
        raise OSError(_ffi.errno, _reason() or os.strerror(_ffi.errno))
    return status


def _some(pointer: Any) -> Any:
    if pointer == _ffi.NULL:
        raise OSError(_ffi.errno, _reason() or os.strerror(_ffi.errno))
    return pointer

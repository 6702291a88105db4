"""From a request to sizes in bytes: percentages, the class without a size, and what exceeds the job's memory."""

import msgspec

from tierwise.directive import MemoryClass, Request
from tierwise.errors import RequestTooLargeError
from tierwise.units import format_size

PRIORITY: tuple[MemoryClass | None, ...] = ("LAT", "SHL", "BW", None, "CAP")
"""Who chooses first where room is scarce; None is the memory of a job beyond the sizes that it named."""


class SizedClass(msgspec.Struct, frozen=True):
    """A class with its size in bytes."""

    memory_class: MemoryClass | None
    size: int


def resolve(request: Request, memory: int, *, explicit: bool) -> tuple[SizedClass, ...]:
    """The classes of `request` in bytes, for a job with `memory` bytes on the node; ordered by PRIORITY.

    The sizes add up to `memory`: an open class takes the rest, or else a part without a class does. Where `memory`
    is 0 (not known), only sizes in bytes count. Sizes beyond `memory` are clipped, the last named first, unless the
    user set the memory (`explicit`): then RequestTooLargeError. Chapter 8, Algorithm 7, lines 4 to 8.
    """
    named = [
        (part.memory_class, memory * part.percent // 100 if part.percent is not None else part.size)
        for part in request.classes
    ]
    asked = sum(size for _, size in named if size is not None)
    limit = memory or asked
    if explicit and asked > limit:
        raise RequestTooLargeError(
            f"the classes add up to {format_size(asked)}, but the job asks for {format_size(memory)} of memory "
            "on each node: raise --mem or name less"
        )
    left = limit
    sizes: dict[MemoryClass | None, int] = {}
    for memory_class, size in named:
        if size is not None:
            sizes[memory_class] = min(size, left)
            left -= sizes[memory_class]
    rest: MemoryClass | None = next((name for name, size in named if size is None), None)
    sizes[rest] = sizes.get(rest, 0) + left
    return tuple(SizedClass(name, sizes[name]) for name in PRIORITY if sizes.get(name))

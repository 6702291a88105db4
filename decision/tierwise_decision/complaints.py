"""What peers do wrong and what fails around us: counted each time, logged once a minute for each kind."""

import logging
import time
from collections.abc import Callable

_INTERVAL = 60.0
_MAX_TEXT = 500
log = logging.getLogger("tierwise.decision")


class Complaints:
    """Call it with a kind (few, fixed: they are labels of a metric) and what happened."""

    def __init__(self, count: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`count` is called with the kind of each complaint."""
        self._count = count
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._silent: dict[str, int] = {}

    def __call__(self, kind: str, text: str, *, trace: BaseException | None = None) -> None:
        """Count one complaint of `kind`; `trace` is logged with its traceback, for faults of our own."""
        self._count(kind)
        now = self._clock()
        if now - self._logged.get(kind, -_INTERVAL) < _INTERVAL:
            self._silent[kind] = self._silent.get(kind, 0) + 1
            return
        self._logged[kind] = now
        more = self._silent.pop(kind, 0)
        suffix = f" (and {more} more of this kind since the last line)" if more else ""
        log.warning("%s: %s%s", kind, printable(text), suffix, exc_info=trace)


def printable(text: str) -> str:
    """What a peer sent, safe for a log: one line, bounded, no control characters."""
    return "".join(char if char.isprintable() else "?" for char in text[:_MAX_TEXT])

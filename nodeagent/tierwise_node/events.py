"""What the agent did with pages and why, in a log that a person can follow (`tierctl events`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from tierwise.messages import Event
from tierwise.tiers import TierName

KEPT = 4096
MOST_TOLD = 200
"""Events in one answer: it has to fit into one message."""


class Events:
    """The newest events of this agent. Moves of one kind within one beat are one event."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._sums: dict[tuple[int, str, TierName, TierName, str], int] = {}
        self._number = 0

    def tell(self, what: str, job_id: int = 0, why: str = "") -> None:
        """Something that happened once."""
        self._add(what, job_id, "", "", 0, why)

    def moved(self, what: str, job_id: int, source: TierName, target: TierName, pages: int, why: str) -> None:
        """Pages that landed: summed up until the beat ends."""
        key = (job_id, what, source, target, why)
        self._sums[key] = self._sums.get(key, 0) + pages

    def end_beat(self) -> None:
        """The sums become events."""
        for (job_id, what, source, target, why), pages in self._sums.items():
            self._add(what, job_id, source, target, pages, why)
        self._sums.clear()

    def since(self, number: int, uid: int, owners: dict[int, int]) -> tuple[Event, ...]:
        """Events after `number` that `uid` may see: root all, others those of their jobs (`owners`: job to uid).

        The oldest MOST_TOLD of them; with `number` 0 the newest.
        """
        seen = [event for event in self._after(number) if uid == 0 or owners.get(event.job_id) == uid]
        return tuple(seen[:MOST_TOLD] if number else seen[-MOST_TOLD:])

    def _after(self, number: int) -> Iterator[Event]:
        return (event for event in self._kept if event.number > number)

    def _add(self, what: str, job_id: int, source: TierName, target: TierName, pages: int, why: str) -> None:
        self._number += 1
        self._kept.append(Event(self._number, time.time_ns(), what, job_id, source, target, pages, why[:512]))

"""What the agent did with pages and why, in a log that a person can follow (`tierctl events`)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from tierwise.messages import Event
from tierwise.tiers import TierName

KEPT = 4096
MOST_TOLD = 200
"""Events in one answer: it has to fit into one message."""


class Events:
    """The newest events of this agent. Moves of one kind within one beat are one event. `owner`: a job's uid.

    They are numbered from `after` on. An agent's are beyond those of the one before it, or who follows would wait until
    as many have happened again.
    """

    def __init__(self, owner: Callable[[int], int], after: int = 0) -> None:
        self._owner = owner
        self._kept: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        self._sums: dict[tuple[int, str, TierName, TierName, str], int] = {}
        self._number = after

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

    def since(self, number: int, uid: int, job_id: int = 0) -> tuple[Event, ...]:
        """Events after `number` that `uid` may see (root all, others those of their jobs), of one job if it is given.

        The oldest MOST_TOLD of them; with `number` 0 the newest.
        """
        found = [
            event
            for owner, event in self._kept
            if event.number > number and uid in (0, owner) and job_id in (0, event.job_id)
        ]
        return tuple(found[:MOST_TOLD] if number else found[-MOST_TOLD:])

    def _add(self, what: str, job_id: int, source: TierName, target: TierName, pages: int, why: str) -> None:
        self._number += 1
        owner = self._owner(job_id) if job_id else 0
        self._kept.append((owner, Event(self._number, time.time_ns(), what, job_id, source, target, pages, why[:512])))

"""Whether a job is still here: what it holds goes with it, and never before."""

import time
from collections.abc import Callable


class Presence:
    """`known` says whether the agent has a record of a job. One that has no cgroup for a while (an allocation without
    a running step) may lose its record, and its epilog is still to come: it is waited for, `patience` seconds long."""

    def __init__(self, known: Callable[[int], bool], patience: float) -> None:
        self._known, self._patience = known, patience
        self._seen: dict[int, float] = {}

    def lives(self, job_id: int) -> bool:
        """Whether the job may still come back to what it has."""
        now = time.monotonic()
        if self._known(job_id):
            self._seen[job_id] = now
        return now - self._seen.setdefault(job_id, now) < self._patience

    def ended(self, job_id: int) -> None:
        """Its epilog has come."""
        self._seen[job_id] = -self._patience
        while len(self._seen) > 10_000:  # the oldest: nobody asks about them any more
            del self._seen[next(iter(self._seen))]

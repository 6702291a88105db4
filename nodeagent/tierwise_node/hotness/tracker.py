"""What a tracker is: it looks at the memory of some processes, and says how hot their address ranges are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tierwise_policy.heat import Ranges

TURN = 1.0
"""Seconds between two turns, at pace 1."""
EARLY = 0.25
"""What windows are shortened to while a tracker hurries: a job may live for seconds only, and its heat is believed
after three windows."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen of one process in the last `seconds`."""

    seconds: float
    ranges: Ranges = field(repr=False)


class Tracker(Protocol):
    """Not safe for two threads at once. Processes that end are an outcome: nothing more is seen of them."""

    name: str

    @property
    def hurries(self) -> bool:
        """Whether it looks at new processes in windows that are EARLY of the usual ones."""

    def problem(self) -> str:
        """Why it can't be used on this host now; empty: it can. Asked before anything else is, and now and then."""

    def follow(self, jobs: Mapping[int, Sequence[int]], pace: int) -> None:
        """Look at these processes, given by job, and at no others. `pace` 1 is as often as it likes, 2 half of that."""

    def read(self) -> dict[int, Seen]:
        """What has become known by pid since the last call; never waits."""

    def cpu(self) -> float:
        """Seconds of CPU that others than the agent's own threads have spent for it."""

    def stop(self) -> None:
        """Leave nothing of ours behind."""

"""How many requests a user may make: a token bucket for each uid, so that no loop slows the others down."""

import math
from collections.abc import Callable

from tierwise_decision.bodies import HttpError
from tierwise_decision.settings import Settings

BURST_SECONDS = 10.0
"""Seconds' worth of requests that a user who was silent may make at once."""
_MOST_USERS = 10_000


class Rates:
    """Buckets by uid, filled at `service.user_rate`. Agents and who may ask as the hook have no limit."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock`: seconds that only run on."""
        self._settings, self._clock = settings, clock
        self._buckets: dict[int, tuple[float, float]] = {}
        """Requests that are left, and when that was so. A uid without one has a full bucket."""

    def take(self, uid: int) -> None:
        """One request of `uid`. Raises HttpError (429) when it has had its share."""
        rate = self._settings.config.service.user_rate
        if not rate or self._settings.access.is_agent(uid) or self._settings.access.is_hook(uid):
            return
        now, full = self._clock(), max(rate * BURST_SECONDS, 1.0)
        left, then = self._buckets.get(uid, (full, now))
        left = min(left + (now - then) * rate, full)
        if left < 1.0:
            wait = math.ceil((1.0 - left) / rate)
            raise HttpError(
                429,
                f"uid {uid} has asked more than {rate:g} times a second (service.user_rate): wait {wait} s",
                "rate",
                [(b"retry-after", str(wait).encode())],
            )
        self._buckets[uid] = (left - 1.0, now)
        if len(self._buckets) > _MOST_USERS:
            self._buckets = {u: b for u, b in self._buckets.items() if now - b[1] < BURST_SECONDS}

"""How long things are kept: measurements as they came for a while, by the hour for longer; ended jobs for longest."""

import asyncio
import time

from sqlalchemy import Connection

from tierwise.errors import UnavailableError
from tierwise_decision.database import selection
from tierwise_decision.database import telemetry as tables
from tierwise_decision.database.retention import forget_jobs
from tierwise_decision.database.store import Store
from tierwise_decision.settings import Settings
from tierwise_decision.telemetry import SECOND

EVERY = 600.0
_PAUSE = 1.0
"""Between two portions: whoever waits for the database comes first."""


class Retention:
    """Rolls up and forgets, as long as the service runs."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store

    async def run(self) -> None:
        """Each few minutes, an hour's measurements or some thousand rows of jobs at a time."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                while await self._store.maintain(self._some):
                    await asyncio.sleep(_PAUSE)
            except UnavailableError:
                continue  # counted already, and tried again

    def _some(self, connection: Connection) -> int:
        config, now = self._settings.config.service, time.time_ns()
        dropped = tables.roll_up(connection, now - int(config.measurement_days * 86400) * SECOND)
        if not dropped:
            before = now - int(config.history_days * 86400) * SECOND
            tables.forget(connection, before)
            selection.forget(connection, before)
            dropped = forget_jobs(connection, now - int(config.job_days * 86400) * SECOND)
        return dropped

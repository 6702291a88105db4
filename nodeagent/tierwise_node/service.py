"""The agent's line to the decision service. Calls block, so they run in threads of their own: one for plans, which a
job's start waits for, one for samples and reports, which nobody waits for.

Where several services share a database, the one that answered last is asked, and the next one when it can't be reached.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tierwise.client import DecisionClient
from tierwise.config import Config
from tierwise.errors import UnavailableError
from tierwise.messages import JobReport, NodeSample, PlanAnswer, PlanQuery, ReadTurn
from tierwise.munge import Munge
from tierwise.telemetry import TelemetryAnswer, TelemetryBatch

T = TypeVar("T")
PLAN_BUDGET = 1.0
"""Seconds that the final plan may take, over everything."""


class Service:
    """Asks the decision service. Each call raises TierwiseError."""

    def __init__(self, config: Config) -> None:
        self._plans, self._reports = _Line(config), _Line(config)
        for line in (self._plans, self._reports):
            line.prepare()

    def heard(self) -> float:
        """When it last answered anything, however late (monotonic seconds)."""
        return max(line.answered for line in (self._plans, self._reports))

    async def plan(self, query: PlanQuery) -> PlanAnswer:
        """The final plan of a job, within PLAN_BUDGET."""
        try:
            return await asyncio.wait_for(
                self._plans.call(lambda client: client.plan(query, timeout=PLAN_BUDGET)), PLAN_BUDGET
            )
        except TimeoutError:
            raise UnavailableError(f"the decision service made no plan within {PLAN_BUDGET:g} s") from None

    async def sample(self, sample: NodeSample) -> None:
        """Tell what the node holds now."""
        await self._reports.call(lambda client: client.sample(sample))

    async def report(self, report: JobReport) -> None:
        """Hand in a report; safe to repeat."""
        await self._reports.call(lambda client: client.report(report))

    async def telemetry(self, batch: TelemetryBatch) -> TelemetryAnswer:
        """Hand in measurements; safe to repeat."""
        return await self._reports.call(lambda client: client.telemetry(batch))

    async def read_turn(self, turn: ReadTurn) -> bool:
        """Whether this node may read a source for staging now."""
        return await self._reports.call(lambda client: client.read_turn(turn))

    def close(self) -> None:
        """Drop the connections; a call on its way is not waited for."""
        self._plans.close()
        self._reports.close()


class _Line:
    """One thread with one client: a Munge context is not for several threads."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._services = deque(config.agent.services)
        """The one to ask comes first."""
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._clients: dict[str, DecisionClient] = {}
        self.answered = -math.inf

    async def call(self, question: Callable[[DecisionClient], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question)

    def prepare(self) -> None:
        """Make the client before it is needed: loading libmunge and TLS must not count against a job's start."""
        self._thread.submit(self._client, self._services[0])

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: Callable[[DecisionClient], T]) -> T:
        problems = []
        for _ in self._config.agent.services:
            try:
                answer = question(self._client(self._services[0]))
                self.answered = time.monotonic()
                return answer
            except UnavailableError as error:
                problems.append(str(error))
                self._services.rotate(-1)
        raise UnavailableError("; ".join(problems))

    def _client(self, service: str) -> DecisionClient:
        if service not in self._clients:  # made when it is needed: munged may start after us
            munge = None if service.startswith("/") else Munge(self._config.munge.socket)
            uids = self._config.agent.service_uids
            self._clients[service] = DecisionClient(service, munge=munge, service_uids=uids)
        return self._clients[service]

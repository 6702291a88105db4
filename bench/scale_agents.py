"""Simulated agents for bench/scale.py: what 10,000 of them say, over TCP with MUNGE, in one process.

    python bench/scale_agents.py SECONDS AGENTS MUNGE_SOCKET PORT…

Each agent says what a real one says once a minute: its sample, the measurements since its last word, and each few
minutes the report of a job that ended. What is not acknowledged is said again, as an agent's spool and journal do it.
Prints what was acknowledged as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
import time
import zlib
from collections.abc import Sequence

import msgspec

from tierwise.messages import JobReport, NodeSample, PlanKey, TierUse
from tierwise.munge import Munge, digest
from tierwise.plans import Moves
from tierwise.telemetry import Hardware, LinkTraffic, Measurement, TelemetryBatch, Utilisation
from tierwise.tiers import Tier
from tierwise.units import GIB

INTERVAL = 60.0
"""Seconds between two words of an agent: its report_interval, and how often it measures when nothing changes."""
REPORTS = 0.3
"""Jobs that end on a node in such an interval."""
PATIENCE = 10.0
RETRY = (1.0, 15.0)
OPEN_AT_ONCE = 200
TIERS = (
    Tier("dram", 0, (0,), 192 * GIB, 190 * GIB, 80, 200 * 10**9),
    Tier("cxl", 1, (1,), 256 * GIB, 256 * GIB, 300, 30 * 10**9),
)
HARDWARE = Hardware(64, "Xeon", 448 * GIB, {"eth0": 1_250_000_000})


class Fleet:
    """All agents, and what has been acknowledged of what they said."""

    def __init__(self, agents: int, munge: Munge, ports: Sequence[int]) -> None:
        self.agents, self._munge, self._ports = agents, munge, ports
        self._open = asyncio.Semaphore(OPEN_AT_ONCE)
        self._jobs = 0
        self.words = 0
        """Requests that were answered with success."""
        self.failures = 0
        self.measurements = 0
        self.reports = 0
        self.stopping = False

    async def run(self, seconds: float) -> float:
        """Talk for a while, then until everything has been said; how long the talk was."""
        started = time.monotonic()
        tasks = [asyncio.create_task(self._agent(number)) for number in range(self.agents)]
        await asyncio.sleep(seconds)
        talked = time.monotonic() - started
        words = self.words
        self.stopping = True
        await asyncio.gather(*tasks)
        self.words = words
        return talked

    async def _agent(self, number: int) -> None:
        source = random.Random(number)
        name, port = f"node{number:05}", self._ports[number % len(self._ports)]
        unsaid: list[Measurement] = []
        ended: list[JobReport] = []
        await asyncio.sleep(source.uniform(0, INTERVAL))
        while not self.stopping:
            began = time.monotonic()
            unsaid.append(_measured(source))
            if source.random() < REPORTS:
                self._jobs += 1
                ended.append(_report(name, self._jobs))
            await self._say(port, "/v1/samples", NodeSample(name, time.time_ns(), "bench", TIERS))
            await self._deliver(port, name, unsaid, ended)
            while not self.stopping and time.monotonic() < began + INTERVAL:
                await asyncio.sleep(min(1.0, INTERVAL))
        await self._deliver(port, name, unsaid, ended)

    async def _deliver(self, port: int, name: str, unsaid: list[Measurement], ended: list[JobReport]) -> None:
        """Everything that waits, again and again until it is acknowledged."""
        pause = RETRY[0]
        while unsaid or ended:
            taken = True
            if unsaid:
                taken = await self._say(port, "/v1/telemetry", TelemetryBatch(name, HARDWARE, tuple(unsaid)))
                if taken:
                    self.measurements += len(unsaid)
                    unsaid.clear()
            while taken and ended:
                taken = await self._say(port, "/v1/reports", ended[0])
                if taken:
                    self.reports += 1
                    ended.pop(0)
            if not taken:
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY[1])

    async def _say(self, port: int, path: str, message: object) -> bool:
        async with self._open:
            try:
                async with asyncio.timeout(PATIENCE):
                    status = await self._post(port, path, message)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                status = 0
        if 200 <= status < 300:
            self.words += 1
            return True
        self.failures += 1
        return False

    async def _post(self, port: int, path: str, message: object) -> int:
        body, encoding = msgspec.json.encode(message), ""
        if path == "/v1/telemetry":
            body, encoding = zlib.compress(body, 1), "Content-Encoding: deflate\r\n"
        nonce = secrets.token_hex(16)
        credential = self._munge.encode(digest(b"request", b"POST", path.encode(), body, nonce.encode()))
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{encoding}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
            f"Authorization: MUNGE {credential}\r\nX-Tierwise-Nonce: {nonce}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(head.encode() + body)
            answer = await reader.read()
            return int(answer.split(b" ", 2)[1]) if answer else 0
        finally:
            writer.close()


def _measured(source: random.Random) -> Measurement:
    use = Utilisation(source.random() * 0.5, source.random() * 0.5, source.random() * 0.5)
    others = Utilisation(use.cpu / 4, use.memory / 4, use.network / 4)
    links, tiers = {"eth0": LinkTraffic(10**6, 10**6)}, {"dram": 0.5, "cxl": 0.25}
    return Measurement(time.time_ns(), INTERVAL, use, others, links, tiers, {"a": 200_000, "b": 210_000})


def _report(node: str, job_id: int) -> JobReport:
    now = time.time_ns()
    return JobReport(
        node=node, key=PlanKey(job_id), uid=1000, directive="cap", memory=GIB, plan=None, reason="",
        started=now - 10**10, ended=now, end="epilog", tiers={"cxl": TierUse(10, GIB, GIB)},
        curve=(), peak=GIB, moves=Moves(1, 1, 0, 0),
        minor_faults=1, major_faults=0, agreed=1.0, gaps=0.0, whole=True,
    )  # fmt: skip


async def talk(seconds: float, agents: int, socket: str, ports: Sequence[int]) -> dict[str, float]:
    """What became of it."""
    fleet = Fleet(agents, Munge(socket), ports)
    talked = await fleet.run(seconds)
    return {
        "seconds": talked,
        "words": fleet.words,
        "failures": fleet.failures,
        "measurements": fleet.measurements,
        "reports": fleet.reports,
    }


if __name__ == "__main__":
    told = asyncio.run(talk(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], [int(port) for port in sys.argv[4:]]))
    print(json.dumps(told))

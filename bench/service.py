"""How many submissions a second the decision service answers, by how much history it has.

    python bench/service.py --jobs 10000 --jobs 1000000

One core carries the service and its clients: a controller has no more to spare. The clients are pipelined: CLIENTS of
them always wait for an answer, each with a new connection for each question, as the Lua module makes them. `measure`
is for other benchmarks.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy import text

from tierwise.client import DecisionClient
from tierwise.errors import UnavailableError
from tierwise.lines import decode, encode
from tierwise.messages import JobReport, NodeSample, PlanAnswer, PlanKey, TierUse
from tierwise.plans import Moves, Part, Plan
from tierwise.tiers import Tier
from tierwise.units import GIB
from tierwise_decision.database.engine import open_engine
from tierwise_decision.database.migrate import migrate

CLIENTS = 8
SECONDS = 5.0
DIRECTIVES = ("lat", "cap", "bw", "lat:64M,cap", "lat:20%,bw:30%,cap")
TIERS = (
    Tier("dram", 0, (0,), 192 * GIB, 190 * GIB, 80, 200 * 10**9),
    Tier("pmem", 1, (1,), 768 * GIB, 768 * GIB, 140, 100 * 10**9),
    Tier("cxl", 2, (2,), 256 * GIB, 256 * GIB, 300, 30 * 10**9),
)
_JOB = 4242424242  # stands for the job's id in the texts below
_TOKEN = "4242424242424242"
_KEY = PlanKey(_JOB, _TOKEN)
_PLAN = Plan((Part("CAP", 4 * GIB, {"cxl": 4 * GIB}),))
_ANSWER = PlanAnswer(_KEY, "cap", 4 * GIB, _PLAN, basis="the directive at submission")
_REPORT = JobReport(
    "n1", _KEY, 1000, "cap", 4 * GIB, _PLAN, "", 1, 2, "epilog", {"cxl": TierUse(1, GIB, GIB)}, (), GIB, Moves(), 1, 0,
    1.0, 0.0, True,
)  # fmt: skip
_FROM_NUMBERS = (
    "FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :jobs) SELECT i, "
    "substr(CAST(1000000000000000 + i AS TEXT), 1, 16) AS token FROM n) AS numbers"
)
_FILL = (
    "INSERT INTO requests (token, time, uid, directive, memory, memory_from, whole_node, partition, nodes, launch, "
    "job_name, account, gres, notice, claimed) SELECT token, :start + i, 1000 + i % 500, 'cap', 4294967296, 'user', "
    f"false, 'normal', 1, 'sbatch', 'job', 'science', 'tier_cxl:4096', '', :start + i {_FROM_NUMBERS}",
    "INSERT INTO jobs (job_id, restart, token, uid, directive, memory, started, ended) "
    f"SELECT i, 0, token, 1000 + i % 500, 'cap', 4294967296, :start + i, :start + i + 1 {_FROM_NUMBERS}",
    "INSERT INTO plans (job_id, restart, token, node, time, uid, answer) SELECT i, 0, token, 'n1', :start + i, "
    f"1000 + i % 500, replace(replace(:answer, '{_TOKEN}', token), '{_JOB}', CAST(i AS TEXT)) {_FROM_NUMBERS}",
    "INSERT INTO reports (job_id, restart, token, node, uid, ended, report) SELECT i, 0, token, 'n1', 1000 + i % 500, "
    f":start + i + 1, replace(replace(:report, '{_TOKEN}', token), '{_JOB}', CAST(i AS TEXT)) {_FROM_NUMBERS}",
)


def fill(url: str, jobs: int) -> None:
    """Bring the database at `url` to this version and put `jobs` ended jobs into it, a plan and a report each."""
    engine = open_engine(url)
    migrate(engine)
    values = {
        "jobs": jobs,
        "start": time.time_ns() - 10**15,
        "answer": msgspec.json.encode(_ANSWER).decode(),
        "report": msgspec.json.encode(_REPORT).decode(),
    }
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _FILL:
            connection.execute(text(statement), {name: values[name] for name in values if f":{name}" in statement})
    engine.dispose()
    os.sync()  # what is measured next shall not pay for writing this out


@contextmanager
def service(directory: Path, database: str) -> Iterator[Path]:
    """A decision service in `directory` that knows one node with three tiers; yields the path of its hook socket."""
    config = directory / "tierwise.toml"
    hook, socket = directory / "hook.sock", directory / "decision.sock"
    config.write_text(
        f'[service]\nlisten = ""\nsocket = "{socket}"\nhook_socket = "{hook}"\ndatabase = "{database}"\n'
        f'spool = "{directory}/spool"\nagent_uids = [{os.geteuid()}]\n'
    )
    with (directory / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tierwise_decision.main", "--config", str(config)], stderr=log
        )
    try:
        _introduce(socket)
        yield hook
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def drive(hook: Path, seconds: float = SECONDS, clients: int = CLIENTS) -> float:
    """Submissions answered with a token, per second, over `seconds`. Raises RuntimeError for any other answer."""
    return asyncio.run(_drive(str(hook), seconds, clients))


def measure(jobs: int, seconds: float = SECONDS, database: str = "") -> float:
    """Submissions per second on one core with `jobs` jobs of history, in a database of its own (SQLite)."""
    with tempfile.TemporaryDirectory(prefix="tierwise-bench-") as name:
        url = database or f"sqlite:///{name}/tierwise.db"
        fill(url, jobs)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            with service(Path(name), url) as hook:
                drive(hook, 0.5)
                return drive(hook, seconds)
        finally:
            os.sched_setaffinity(0, before)


async def _drive(hook: str, seconds: float, clients: int) -> float:
    started = time.perf_counter()
    counts = await asyncio.gather(*(_client(hook, number, started + seconds) for number in range(clients)))
    return sum(counts) / (time.perf_counter() - started)


async def _client(hook: str, number: int, until: float) -> int:
    answered = 0
    while time.perf_counter() < until:
        nonce = f"{number:08x}{answered:08x}"
        reader, writer = await asyncio.open_unix_connection(hook)
        writer.write(
            encode(
                {
                    "op": "submit", "nonce": nonce, "uid": 1000 + number, "partition": "normal", "nodes": 1,
                    "tier": DIRECTIVES[answered % len(DIRECTIVES)], "mem": 4 * GIB, "mem_from": "user",
                    "whole_node": 0, "user_gres": 0, "launch": "sbatch", "job_name": "job", "account": "science",
                }
            )
        )  # fmt: skip
        answer = decode(await reader.readuntil(b"\n\n"))
        writer.close()
        if answer["status"] != "ok" or answer["nonce"] != nonce or not answer.get("gres"):
            raise RuntimeError(f"the service answered {answer}")
        answered += 1
    return answered


def _introduce(socket: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with DecisionClient(str(socket)) as client:
                client.sample(NodeSample("n1", time.time_ns(), "bench", TIERS))
            return
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, action="append", help="jobs of history; may be repeated")
    options = parser.parse_args()
    rates = {str(jobs): round(measure(jobs), 1) for jobs in options.jobs or [10_000]}
    print(json.dumps(rates))


if __name__ == "__main__":
    main()

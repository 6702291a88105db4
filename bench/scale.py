"""10,000 agents on one PostgreSQL: `make bench-scale`, as root. About five minutes.

Two decision services share a PostgreSQL on this machine; simulated agents (scale_agents.py) report to them over TCP
with MUNGE, as real ones do, while submissions are asked for at the first service's hook socket. In the middle
PostgreSQL is restarted, and the second service is killed and started again. Then every acknowledged measurement and
report must be in the database. PostgreSQL, both services, munged and the agents share this machine's cores.

Beside it: 1,000 sbatch in series with Tierwise against Slurm alone, what node weights add to a scheduling cycle, and
what the end of a job costs (scale_endings.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from figures import Figure, publish
from scale_agents import INTERVAL
from scale_endings import endings
from sqlalchemy import text
from submit import check_planned, pair, percentile, run, sbatch_rate

from tierwise.client import DecisionClient
from tierwise.errors import TierwiseError, UnavailableError
from tierwise.lines import decode, encode
from tierwise.telemetry import Hardware, Measurement, TelemetryBatch, Utilisation
from tierwise_decision.database.engine import open_engine
from tierwise_lab import munge
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

HERE = Path(__file__).parent
AGENTS = 10_000
SECONDS = 120.0
RESTART_AT, KILL_AT, BACK_AFTER = 0.5, 0.75, 5.0
"""When PostgreSQL is restarted and a service killed, as shares of the time; seconds until that service is back."""
ASK_EVERY = 0.05
BURST, SERIES = 1000, 50
CONFIGURED, CYCLE_SECONDS, FEEDERS = 1000, 120.0, 40
CYCLE_WINDOW = 10.0
"""Seconds that one mean is of, about ten cycles: the medians of several such bear other work on the machine."""
LOADED = 20
"""Of the configured nodes each so many-th has a load that lasts."""


class PostgreSQL:
    """A private server in a directory of its own, with its durability on; reached by a unix socket."""

    def __init__(self, directory: Path) -> None:
        self._bin = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1].parent
        self.directory = directory
        self.directory.mkdir()
        shutil.chown(self.directory, "postgres")
        self.url = f"postgresql://postgres@/postgres?host={self.directory}"
        self._run("initdb", "-D", f"{self.directory}/data", "-A", "trust", "-U", "postgres")

    def control(self, *args: str) -> None:
        """pg_ctl."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory} -c max_connections=50"
        self._run("pg_ctl", "-D", f"{self.directory}/data", "-w", "-l", f"{self.directory}/log", "-o", options, *args)

    def _run(self, program: str, *args: str) -> None:
        command = [str(self._bin / program), *args]
        subprocess.run(
            command, user="postgres", cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
        )


class Service:
    """One decision service of several on a database."""

    def __init__(self, directory: Path, database: str, munge_socket: Path) -> None:
        directory.mkdir()
        self.hook, self.socket = directory / "hook.sock", directory / "decision.sock"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._config, self._log = directory / "tierwise.toml", directory / "log"
        self._config.write_text(
            f'[service]\nlisten = "127.0.0.1:{self.port}"\nsocket = "{self.socket}"\nhook_socket = "{self.hook}"\n'
            f'database = "{database}"\nspool = "{directory}/spool"\n'
            f'[agent]\nreport_interval = {INTERVAL}\n[munge]\nsocket = "{munge_socket}"\n'
        )

    def start(self) -> None:
        """Start it, with the priority that its unit has (etc/systemd), and wait until it answers."""
        with self._log.open("ab") as log:
            command = [
                "nice",
                "-n",
                "-10",
                sys.executable,
                "-m",
                "tierwise_decision.main",
                "--config",
                str(self._config),
            ]
            self.process = subprocess.Popen(command, stderr=log, env=os.environ | {"SLURM_CONF": "/nonexistent"})
        deadline = time.monotonic() + 60
        while not self.answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"a service does not answer: {self._log.read_text()[-500:]}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it does."""
        try:
            with DecisionClient(str(self.socket)) as client:
                return bool(client.health().version)
        except TierwiseError:
            return False

    def empty_spool(self) -> None:
        """Wait until what the database did not take at first is in it."""
        deadline = time.monotonic() + 120
        with DecisionClient(str(self.socket)) as client:
            while client.health().spooled:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"reports stay in the spool: {client.health().problems}")
                time.sleep(0.5)

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        self.process.wait(60)


class Submissions(threading.Thread):
    """Asks a hook socket for a submission every ASK_EVERY seconds, as slurmctld's hook does: on the connection of the
    last answer (service.lua). Keeps how long each took."""

    def __init__(self, hook: Path) -> None:
        super().__init__(daemon=True)
        self._hook, self._over = hook, threading.Event()
        self._kept: socket.socket | None = None
        self.milliseconds: list[float] = []
        self.failures = 0

    def run(self) -> None:
        """Until `end`."""
        number = 0
        while not self._over.wait(ASK_EVERY):
            number += 1
            question: dict[str, str | int] = {
                "op": "submit", "nonce": f"{number:016x}", "uid": 1000, "partition": "main", "nodes": 1,
                "tier": "lat:64M,cap", "mem": 4 << 30, "mem_from": "user", "whole_node": 0, "user_gres": 0,
                "launch": "sbatch", "job_name": "j", "account": "", "cpus": 1, "script": "#!/bin/sh\nsleep 1\n" * 20,
            }  # fmt: skip
            started = time.perf_counter()
            try:
                self._ask(encode(question))
            except (OSError, TierwiseError):
                self.failures += 1
                self._drop()
            self.milliseconds.append(1e3 * (time.perf_counter() - started))

    def end(self) -> None:
        """Ask no more."""
        self._over.set()
        self.join()
        self._drop()

    def _ask(self, question: bytes) -> None:
        """Raises OSError, ProtocolError, and UnavailableError for an answer that is no plan."""
        if self._kept is None:
            self._kept = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._kept.settimeout(5.0)
            self._kept.connect(str(self._hook))
        self._kept.sendall(question)
        answer = b""
        while not answer.endswith(b"\n\n"):
            answer += (came := self._kept.recv(65536))
            if not came:
                raise ConnectionError
        if decode(answer)["status"] != "ok":
            raise UnavailableError(str(answer))

    def _drop(self) -> None:
        if self._kept:
            self._kept.close()
        self._kept = None


@contextmanager
def cluster() -> Iterator[tuple[PostgreSQL, list[Service], Path]]:
    """PostgreSQL, munged and two services."""
    top = Path(tempfile.mkdtemp(prefix="tw-scale-"))
    top.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, top)
        (top / "munge").mkdir(mode=0o755)
        munge.install_key(top / "munge/munge.key", None)
        munged = subprocess.Popen(munge.command(top / "munge"), stderr=subprocess.DEVNULL)
        stack.callback(munged.wait, 10)
        stack.callback(munged.terminate)
        server = PostgreSQL(top / "postgresql")
        server.control("start")
        stack.callback(server.control, "stop", "-m", "immediate")
        services = [Service(top / f"service{number}", server.url, top / "munge/munge.sock") for number in (1, 2)]
        for service in services:
            service.start()
            stack.callback(service.end, signal.SIGTERM)
        yield server, services, top / "munge/munge.sock"


@contextmanager
def bare_echo() -> Iterator[Path]:
    """A socket at which nothing is done, with the service's priority: what the crowded machine itself costs."""
    with tempfile.TemporaryDirectory(prefix="tw-echo-") as folder:
        path = Path(folder, "echo.sock")
        command = ["nice", "-n", "-10", sys.executable, str(HERE / "scale_echo.py"), str(path)]
        process = subprocess.Popen(command)
        try:
            while not path.exists():
                time.sleep(0.1)
            yield path
        finally:
            process.terminate()
            process.wait(10)


def agents(count: int = AGENTS, seconds: float = SECONDS) -> list[Figure]:
    """The fleet, the submissions meanwhile, the failures in the middle, and the counting afterwards."""
    with cluster() as (server, services, munge_socket), bare_echo() as bare:
        command = [sys.executable, HERE / "scale_agents.py", str(seconds + INTERVAL), str(count), str(munge_socket)]
        ports = [str(service.port) for service in services]
        fleet = subprocess.Popen([*map(str, command), *ports], stdout=subprocess.PIPE, text=True)
        time.sleep(INTERVAL)  # each agent has said its first word
        submissions = Submissions(services[0].hook)
        submissions.start()
        echo = Submissions(bare)
        echo.start()
        time.sleep(seconds * RESTART_AT)
        calm = list(submissions.milliseconds)
        server.control("restart", "-m", "fast")
        time.sleep(seconds * (KILL_AT - RESTART_AT))
        services[1].end(signal.SIGKILL)
        time.sleep(BACK_AFTER)
        services[1].start()
        said, _ = fleet.communicate(timeout=600)
        submissions.end()
        echo.end()
        told = json.loads(said)
        for service in services:
            service.empty_spool()
        kept = _kept(server.url)
    lost = told["measurements"] - kept[0] + told["reports"] - kept[1]
    print(f"agents: {told}; in the database: {kept[0]} measurements, {kept[1]} reports")
    took = submissions.milliseconds
    return [
        Figure("agents", "simulated agents", count),
        Figure("reports_per_s", "samples, batches and reports taken per second", told["words"] / told["seconds"]),
        Figure("submit_p99_ms", "a submission meanwhile, 99th percentile ms", percentile(took, 0.99), at_most=20),
        Figure("submit_p99_ms_calm", "… before anything was broken", percentile(calm, 0.99), at_most=20),
        Figure("submit_median_ms", "… median ms", percentile(took, 0.5)),
        Figure("echo_p99_ms", "a bare echo meanwhile, 99th percentile ms", percentile(echo.milliseconds, 0.99)),
        Figure("submit_failures", "… that had no answer", submissions.failures, at_most=0),
        Figure("lost_reports", "acknowledged, but not in the database", lost, at_most=0),
    ]  # fmt: skip


def _kept(url: str) -> tuple[int, int]:
    engine = open_engine(url)
    with engine.connect() as connection:
        measurements = connection.execute(text("SELECT count(*) FROM measurements")).scalar_one()
        reports = connection.execute(text("SELECT count(*) FROM reports")).scalar_one()
    engine.dispose()
    return int(measurements), int(reports)


def burst() -> list[Figure]:
    """1,000 sbatch in series, ours and Slurm's own taking turns."""
    with pair() as (ours, plain):
        took = {ours: 0.0, plain: 0.0}
        for _ in range(BURST // SERIES):
            for stack in took:
                took[stack] += SERIES / sbatch_rate(stack, SERIES)
        check_planned(ours)
        slow = ours.log("slurmctld").count("very large processing time")
    return [
        Figure("sbatch_burst_ratio", "1,000 sbatch in series, against Slurm alone", took[plain] / took[ours], 0.8),
        Figure("long_processing_times", "slurmctld's warnings about it", slow, at_most=0),
    ]


def cycle() -> list[Figure]:
    """slurmctld's mean scheduling cycle over 1,000 nodes, weights on against off. Loads change all the time, some last.

    Cloud nodes that are never resumed stand for real ones; jobs that want all of them and a real one, which is busy,
    make each cycle go through all.
    """
    lines = (
        "PrivateData=cloud",  # sinfo shows cloud nodes that are powered down
        "SuspendProgram=/bin/true",
        "ResumeProgram=/bin/true",
        "SuspendTime=100000",
        f"NodeName=x[1-{CONFIGURED}] CPUs=2 RealMemory=4000 State=CLOUD",
        "PartitionName=big Nodes=ALL MaxTime=60 State=UP",
    )
    on = StackOptions(nodes=1, agents=False, extra_slurm_conf=lines, settings={"service": {"weights": ["big"]}})
    off = StackOptions(nodes=1, agents=False, extra_slurm_conf=lines)
    with Stack(on) as ours, Stack(off) as plain:
        for stack in (ours, plain):
            stack.wait(stack.sbatch("#!/bin/sh\nsleep 3600\n", "--exclusive", "--mem=100"), "RUNNING")
            wish = f"sbatch -Q -p big -N {CONFIGURED + 1} --mem=10 --wrap true"
            run(stack, ["sh", "-c", f"for n in $(seq 20); do {wish}; done"])
        source, deadline = random.Random(1), time.monotonic() + 180
        while published(ours) < CONFIGURED // LOADED:
            feed(ours, plain, source, 10.0)
            if time.monotonic() > deadline:
                raise RuntimeError(f"weights of {published(ours)} nodes were published")
        if published(plain):
            raise RuntimeError("weights were published where they are off")
        means: list[list[float]] = []
        with ThreadPoolExecutor(1) as background:
            feeding = background.submit(feed, ours, plain, source, CYCLE_SECONDS)
            while not feeding.done():
                for stack in (ours, plain):
                    run_as_root(stack, "sdiag", "--reset")
                time.sleep(CYCLE_WINDOW)
                means.append([mean_cycle(run_as_root(stack, "sdiag")) for stack in (ours, plain)])
                print(f"mean cycle with weights and without: {means[-1]} µs; {published(ours)} nodes last", flush=True)
            feeding.result()
    ratio = statistics.median(mean / alone for mean, alone in means)
    return [
        Figure("sdiag_cycle_ratio", "sdiag's mean cycle with weights, against without", ratio, at_most=1.05),
        Figure("sdiag_cycle_us", "… with weights, µs", statistics.median(mean for mean, _ in means)),
    ]


def feed(ours: Stack, plain: Stack, source: random.Random, seconds: float) -> None:
    """Say for a while of 1,000 nodes that they are busy in another way each time, and some of them all the time."""
    until = time.monotonic() + seconds
    hardware = Hardware(2, "model", 4 << 30)
    with (
        DecisionClient(str(ours.layout.decision_socket)) as one,
        DecisionClient(str(plain.layout.decision_socket)) as other,
        ThreadPoolExecutor(FEEDERS) as pool,
    ):
        while time.monotonic() < until:
            said = []
            for number in range(1, CONFIGURED + 1):
                busy = number % LOADED == 0
                use = Utilisation(cpu=1.0 if busy else source.random() * 0.75, memory=source.random() * 0.75)
                batch = TelemetryBatch(f"x{number}", hardware, (Measurement(time.time_ns(), 10.0, use, use),))
                said += [(one, batch), (other, batch)]
            list(pool.map(lambda words: words[0].telemetry(words[1]), said))


def published(stack: Stack) -> int:
    """How many nodes have our weight of a node that is worse than others."""
    weights = run_as_root(stack, "sinfo", "-h", "-N", "-p", "big", "-o", "%w").split()
    return sum(int(weight) == 1001 for weight in weights)


def mean_cycle(sdiag: str) -> float:
    """Microseconds of the main scheduler's mean cycle."""
    found = re.search(r"Mean cycle:\s+(\d+)", sdiag)
    if not found:
        raise RuntimeError(f"sdiag shows no mean cycle: {sdiag[:500]}")
    return float(found[1])


def run_as_root(stack: Stack, *argv: str) -> str:
    """What an admin's command prints."""
    return run(stack, list(argv), user="root")


PARTS = {"agents": agents, "burst": burst, "cycle": cycle, "endings": endings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="only these; default: all, and the file")
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    figures: list[Figure] = []
    for name in options.parts or PARTS:
        figures += agents(options.agents, options.seconds) if name == "agents" else PARTS[name]()
    print(publish("scale" if not options.parts else "scale-part", figures, 1))


if __name__ == "__main__":
    main()

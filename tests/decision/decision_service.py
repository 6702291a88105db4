"""A real decision service for a test: its own directory, sockets, configuration and database."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from tierwise.client import DecisionClient
from tierwise.errors import TierwiseError
from tierwise.local import ask
from tierwise.messages import JobReport, JobSample, NodeSample, PlanAnswer, PlanKey, PlanQuery, TierUse, UsePoint
from tierwise.munge import Munge
from tierwise.plans import Moves
from tierwise.tiers import Tier
from tierwise.units import GIB, MIB

T = TypeVar("T")
ALICE, BOB = 65533, 65532  # any uids but root's: sockets know uids, not names
TIERS = (
    Tier("dram", 0, (0,), 2 * GIB, 2 * GIB, 80, 200 * 10**9),
    Tier("pmem", 1, (1,), GIB, GIB, 140, 100 * 10**9),
    Tier("cxl", 2, (2,), GIB, GIB, 300, 30 * 10**9),
)


def eventually(question: Callable[[], T], seconds: float = 60.0) -> T:
    """The first truthy answer; the last error or answer is told when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        problem: object
        try:
            if answer := question():
                return answer
            problem = answer
        except (TierwiseError, OSError, AssertionError) as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {problem!r}")
        time.sleep(0.02)


@contextmanager
def as_uid(uid: int) -> Iterator[None]:
    """Sockets that are connected inside belong to `uid` for their peers (SO_PEERCRED)."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Service:
    """`tierwise-decision` in a directory of its own; `config` is more of its [service] section."""

    def __init__(
        self, *, database: str = "", munge: Path | None = None, wrapper: tuple[str, ...] = (), config: str = ""
    ):
        self.directory = Path(tempfile.mkdtemp(prefix="tw-dec-"))
        self.directory.chmod(0o755)
        self.hook = self.directory / "run" / "hook.sock"
        self.socket = self.directory / "run" / "decision.sock"
        self.database = database or f"sqlite:///{self.directory}/state/tierwise.db"
        self.spool = self.directory / "spool"
        self.port = free_port() if munge else 0
        self.munge = munge
        self.wrapper = wrapper
        self.process: subprocess.Popen[bytes] | None = None
        (self.directory / "state").mkdir()
        self.configure(config)

    def configure(self, more: str = "") -> None:
        listen = f"127.0.0.1:{self.port}" if self.port else ""
        self._config.write_text(
            f'[service]\nlisten = "{listen}"\nsocket = "{self.socket}"\nhook_socket = "{self.hook}"\n'
            f'database = "{self.database}"\nspool = "{self.spool}"\n{more}\n'
            f'[munge]\nsocket = "{self.munge or ""}"\n'
        )

    def launch(self) -> None:
        """Start it, without a look whether it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, sys.executable, "-m", "tierwise_decision.main", "--config", str(self._config)],
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def start(self) -> Service:
        self.launch()
        eventually(lambda: self.client().health().version, 30)
        return self

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory)

    def client(self, uid: int = 0) -> DecisionClient:
        """A client over the unix socket, as `uid`."""
        client = DecisionClient(str(self.socket))
        with as_uid(uid):
            client.health()  # connects, and the connection is kept
        return client

    def tcp_client(self, munge: Munge, service_uids: tuple[int, ...] = (0,)) -> DecisionClient:
        return DecisionClient(self.url, munge=munge, service_uids=service_uids)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def submit(self, tier: str, **fields: str | int) -> dict[str, str]:
        """Ask as the Lua module does, for 300 MiB that the user has set."""
        question: dict[str, str | int] = {
            "op": "submit", "nonce": "abc123", "uid": ALICE, "partition": "main", "nodes": 1, "tier": tier,
            "mem": 300 * MIB, "mem_from": "user", "whole_node": 0, "user_gres": 0, "launch": "sbatch", "job_name": "j",
            "account": "",
        }  # fmt: skip
        answer = ask(str(self.hook), question | fields, 5)
        assert answer["nonce"] == str(fields.get("nonce", "abc123"))
        return answer

    def descriptors(self) -> int:
        """Of the service and of its hook's process."""
        assert self.process is not None
        pids = (self.process.pid, *self.children())
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)

    def children(self) -> list[int]:
        """The pids of its processes: the hook's."""
        assert self.process is not None
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def http(self) -> httpx.Client:
        """A client over the unix socket that may ask anything."""
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://service", timeout=30)

    def counted(self, metric: str) -> float:
        """A counter of /metrics, by its name and labels as they are written there; 0 while it is not there."""
        with self.http() as http:
            text = http.get("/metrics").text
        found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def _config(self) -> Path:
        return self.directory / "tierwise.toml"


def node_sample(node: str = "n1", *jobs: JobSample, tiers: tuple[Tier, ...] = TIERS) -> NodeSample:
    return NodeSample(node, time.time_ns(), "0.1.0", tiers, jobs)


def job_sample(job_id: int, uid: int = ALICE, **fields: object) -> JobSample:
    sample = JobSample(PlanKey(job_id), uid, None, {"dram": 10 * MIB}, None)
    return msgspec.structs.replace(sample, **fields)


def plan_query(job_id: int, token: str = "", **fields: object) -> PlanQuery:
    evictable = {tier.name: tier.free for tier in TIERS}
    return msgspec.structs.replace(PlanQuery("n1", PlanKey(job_id, token), ALICE, "", 0, TIERS, evictable), **fields)


def job_report(job_id: int, answer: PlanAnswer | None = None, **fields: object) -> JobReport:
    report = JobReport(
        node="n1", key=answer.key if answer else PlanKey(job_id), uid=ALICE, directive="cap", memory=300 * MIB,
        plan=answer.plan if answer else None, reason="", started=time.time_ns() - 10**10, ended=time.time_ns(),
        end="epilog", tiers={"cxl": TierUse(10, 300 * MIB, 200 * MIB)}, curve=(UsePoint(1.0, {"cxl": 300 * MIB}),),
        peak=300 * MIB, moves=Moves(5, 4, 1, 0), minor_faults=7, major_faults=0, agreed=1.0, gaps=0.0, whole=True,
    )  # fmt: skip
    return msgspec.structs.replace(report, **fields)

"""Jobs without Slurm: real processes in cgroups made where Slurm would make them, and a real agent beside them."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tierwise.errors import UnavailableError
from tierwise.local import ask

T = TypeVar("T")
UNIT = Path(__file__).parents[2] / "etc/systemd/tierwise-agent.service"
MOUNT = Path("/sys/fs/cgroup")
VERSION = 2 if (MOUNT / "cgroup.controllers").exists() else 1
NOBODY = pwd.getpwnam("nobody").pw_uid
HOLD = """
import sys, time
held = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
print("ready", flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], T], what: str, timeout: float = 120) -> T:
    """Poll until `condition` is true, and return its value. The pauses grow: looking takes the agent's time, too."""
    deadline, pause = time.monotonic() + timeout, 0.02
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)
    return value


class JobCgroups:
    """The cgroups of a NodeName of our own."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._processes: list[subprocess.Popen[str]] = []
        if VERSION == 2:
            self._prepare_v2()

    @property
    def roots(self) -> list[Path]:
        """Where this node's jobs are, in every hierarchy that we use."""
        if VERSION == 2:
            return [MOUNT / f"system.slice/{self._node}_slurmstepd.scope"]
        return [MOUNT / controller / f"slurm_{self._node}" for controller in ("freezer", "memory")]

    def folders(self, job_id: int, uid: int = NOBODY) -> list[Path]:
        """A job's cgroups."""
        return [root / (f"job_{job_id}" if VERSION == 2 else f"uid_{uid}/job_{job_id}") for root in self.roots]

    def make(self, job_id: int, uid: int = NOBODY, limit: int | None = None) -> None:
        """The job's cgroups with a step, as Slurm makes them. What a first try of the test left goes before."""
        self.remove(job_id, uid)
        for folder in self.folders(job_id, uid):
            folder.mkdir(parents=True)
            if VERSION == 2:
                (folder / "cgroup.subtree_control").write_text("+memory")
            (folder / "step_0").mkdir()
        if limit is not None:
            name = "memory.max" if VERSION == 2 else "memory.limit_in_bytes"
            (self.folders(job_id, uid)[-1] / name).write_text(str(limit))

    def start(
        self, job_id: int, argv: list[str], uid: int = NOBODY, stdin: int | None = None, become: bool = True
    ) -> subprocess.Popen[str]:
        """A process of the job; it is in the cgroup before it runs. Not `become`: it takes the uid on by itself."""
        procs = [folder / "step_0/cgroup.procs" for folder in self.folders(job_id, uid)]

        def enter() -> None:
            for each in procs:
                each.write_text(str(os.getpid()))
            if become:
                os.setgid(uid)
                os.setuid(uid)

        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=enter,  # noqa: PLW1509
            cwd="/",
        )
        self._processes.append(process)
        return process

    def hold(self, job_id: int, mib: int, uid: int = NOBODY, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """A process of the job that holds so much memory, and has touched it."""
        process = self.start(job_id, [*prefix, "/usr/bin/python3", "-I", "-c", HOLD, str(mib)], uid)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def freeze(self, job_id: int, frozen: bool, uid: int = NOBODY) -> None:
        """Suspend the job's step, or resume it, as Slurm does."""
        step = self.folders(job_id, uid)[0] / "step_0"
        if VERSION == 2:
            (step / "cgroup.freeze").write_text(str(int(frozen)))
        else:
            (step / "freezer.state").write_text("FROZEN" if frozen else "THAWED")

    def remove(self, job_id: int, uid: int = NOBODY) -> None:
        """Kill the job's processes and remove its cgroups."""
        folders = [folder for folder in self.folders(job_id, uid) if folder.exists()]
        for folder in folders:
            for process in (folder / "step_0/cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
        for process in self._processes:
            if process.poll() is None and process.pid and _ended(process):
                process.wait()
        for folder in folders:
            for place in (folder / "step_0", folder):
                until(lambda place=place: _removed(place), f"{place} to go")

    def close(self) -> None:
        """Remove everything."""
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        for root in self.roots:
            for folder, _, _ in os.walk(root, topdown=False):
                until(lambda folder=folder: _removed(Path(folder)), f"{folder} to go")

    def _prepare_v2(self) -> None:
        for folder in (MOUNT, MOUNT / "system.slice", self.roots[0]):
            folder.mkdir(exist_ok=True)
            (folder / "cgroup.subtree_control").write_text("+memory")


def confinement() -> list[str]:
    """A command prefix: root with the capabilities that the agent's unit leaves it, and no others."""
    capabilities = re.search(r"^CapabilityBoundingSet=(.+)$", UNIT.read_text(), re.MULTILINE)
    assert capabilities, f"{UNIT} bounds no capabilities"
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities[1].split())
    return ["setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--no-new-privs"]


class AgentProcess:
    """A real agent, as its command starts it, with the rights that its unit gives it."""

    def __init__(self, folder: Path, node: str, agent: Mapping[str, object], prefix: tuple[str, ...] = ()) -> None:
        self.folder, self.node, self._prefix = folder, node, prefix
        self.socket = folder / f"agent-{node}.sock"
        self.config, self.log = folder / "tierwise.toml", folder / "agent.log"
        self.configure(agent)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, agent: Mapping[str, object]) -> None:
        """Write the configuration."""
        settings: dict[str, Any] = {
            "service": str(self.folder / "decision.sock"),
            "socket": str(self.folder / "agent-%n.sock"),
            "state": str(self.folder / "state"),
            "sample_interval": 0.1,
            "report_interval": 1.0,
            **agent,
        }
        stage = {"path": str(self.folder / "stage"), **settings.pop("stage", {})}
        self.config.write_text(
            "[agent]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
            + "[agent.stage]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in stage.items())
        )

    @property
    def pid(self) -> int:
        """Of the running agent."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            command = [
                sys.executable,
                "-P",
                "-m",
                "tierwise_node.main",
                "--config",
                str(self.config),
                "--node",
                self.node,
            ]
            self._process = subprocess.Popen([*self._prefix, *confinement(), *command], stderr=log)
        until(self.answers, f"the agent to answer, see {self.log.read_text()}", 60)

    def answers(self) -> bool:
        """Whether it answers now."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.ask(op="status")["status"] == "ok"
        except UnavailableError:
            return False

    def end(self, number: signal.Signals) -> int:
        """Send a signal that ends it, and wait; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def close(self) -> None:
        """End it if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGTERM)
        unmount_below(self.folder)

    def ask(self, **fields: str | int) -> dict[str, str]:
        """One question on its socket, as this process."""
        return ask(str(self.socket), fields, timeout=30)  # a virtual node on a busy machine takes its time

    def job(self, job_id: int) -> dict[str, Any]:
        """op=job, decoded."""
        found: dict[str, Any] = json.loads(self.ask(op="job", job_id=job_id)["json"])
        return found

    def jobs(self) -> dict[int, dict[str, Any]]:
        """op=status, decoded: the jobs by id."""
        sample = json.loads(self.ask(op="status")["json"])
        return {job["key"]["job_id"]: job for job in sample["jobs"]}

    def reports(self) -> list[dict[str, Any]]:
        """The reports that wait in its journal for the service."""
        with contextlib.closing(sqlite3.connect(self.folder / "state/journal.db")) as database:
            return [json.loads(row[0]) for row in database.execute("SELECT report FROM reports ORDER BY number")]


def unmount_below(folder: Path) -> None:
    """Take away the mounts that a killed agent left."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", place], check=True)


def _ended(process: subprocess.Popen[str]) -> bool:
    try:
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return True
    return state in "ZX"


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def hand_made(node: str) -> Iterator[JobCgroups]:
    """For fixtures: the cgroups, and nothing left behind."""
    cgroups = JobCgroups(node)
    try:
        yield cgroups
    finally:
        cgroups.close()


@contextlib.contextmanager
def running_agent(node: str, settings: Mapping[str, object]) -> Iterator[AgentProcess]:
    """An agent without a decision service, in a folder of its own; it and the folder are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:  # short: a socket's path has 107 bytes
        Path(folder).chmod(0o755)
        agent = AgentProcess(Path(folder), node, settings)
        agent.start()
        try:
            yield agent
        finally:
            agent.close()

"""Jobs whose processes use the user library, told what to do a line at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from handmade import NOBODY, AgentProcess, JobCgroups

from tierwise.units import MIB

LINES = """
import os, socket, sys, threading
from tierwise import lines, memory
class Raw:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(os.environ["TIERWISE_SOCKET"])
    def send(self, message):
        self.socket.sendall(message)
        answer, self.descriptors, _, _ = socket.recv_fds(self.socket, 65536, 1)
        return lines.decode(answer)
    def __call__(self, **fields):
        return self.send(lines.encode(fields))
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))  # only now: the checkout may be root's alone
for line in sys.stdin:
    try:
        print(repr(eval(line) if not line.startswith("!") else exec(line[1:])), flush=True)
    except Exception as error:
        print(type(error).__name__, getattr(error, "errno", ""), error, flush=True)
"""


@dataclass
class Job:
    """A job with a limit, whose directive is `tier`."""

    agent: AgentProcess
    cgroups: JobCgroups
    id: int
    uid: int = NOBODY
    limit: int = 256 * MIB
    tier: str = "cap:200M,lat"

    def begin(self) -> Job:
        """As Slurm would."""
        self.cgroups.make(self.id, self.uid, limit=self.limit)
        self.agent.ask(op="prolog", job_id=self.id, uid=self.uid, comment="", tier=self.tier, restart=0)
        self.agent.ask(op="task", job_id=self.id, step=0, uid=self.uid, tier="", mem=self.limit, policy_set=0)
        return self

    def end(self) -> None:
        """As Slurm would, too."""
        self.cgroups.remove(self.id, self.uid)
        self.agent.ask(op="epilog", job_id=self.id, uid=self.uid)

    def granted(self) -> dict[str, int]:
        """What its plan says was granted."""
        plan: dict[str, dict[str, int]] = self.agent.job(self.id)["plan"]
        return plan["granted"]


class Process:
    """A Python in a job that does what it is told, a line at a time."""

    def __init__(self, agent: AgentProcess, job: Job) -> None:
        argv = ["/usr/bin/env", f"TIERWISE_SOCKET={agent.socket}", sys.executable, "-c", LINES, str(job.uid)]
        self._process = job.cgroups.start(job.id, argv, job.uid, stdin=subprocess.PIPE, become=False)
        self.pid = self._process.pid

    def __call__(self, line: str) -> str:
        """What a line evaluates to, as text; with `!`, executed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{line}: the process has ended"
        return answer.rstrip("\n")

    def kill(self) -> None:
        """As by the OOM killer."""
        self._process.kill()
        self._process.wait()


def regions(agent: AgentProcess) -> list[dict[str, object]]:
    """What tierctl shared is told."""
    found: list[dict[str, object]] = json.loads(agent.ask(op="memory_regions")["json"])
    return found

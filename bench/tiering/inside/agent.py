"""Tierwise on the virtual node: a real agent as its unit starts it, and what SPANK does for a task. Slurm is left away:
its daemons take part in nothing that is measured here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tiering.inside.cgroups import NODE, USER, Job, memory_policy
from tierwise.errors import UnavailableError
from tierwise.local import ask

FOLDER = Path("/run/tierwise-bench")
SOCKET = FOLDER / "agent.sock"
START_S = 60.0
NUMA_BALANCING = 1 << 13
STATIC_NODES = 1 << 15
KINDS = {"preferred_many": 5, "weighted_interleave": 6}


class Agent:
    """A running agent on one CPU. Its settings are the product's defaults but for the places of its files."""

    def __init__(self, cpu: int) -> None:
        FOLDER.mkdir(exist_ok=True)
        config = FOLDER / "tierwise.toml"
        settings = {"service": str(FOLDER / "decision.sock"), "socket": str(SOCKET), "state": str(FOLDER / "state")}
        config.write_text("[agent]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        self._answers: dict[int, dict[str, str]] = {}
        self._log = (FOLDER / "agent.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tierwise_node.main", "--config", str(config), "--node", NODE],
            stderr=self._log,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),  # noqa: PLW1509
        )
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                ask(str(SOCKET), {"op": "status"}, timeout=START_S)
                return
            except UnavailableError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the agent did not start: {self.log()}") from None
                time.sleep(0.1)

    def task(self, job_id: int, directive: str, memory: int) -> Callable[[], None] | None:
        """Ask as SPANK does when a task starts; what sets the policy that the agent wants, if it wants one."""
        question: dict[str, str | int] = {"op": "task", "job_id": job_id, "step": 0, "uid": USER}
        question |= {"tier": directive, "mem": memory}
        answer = self._answers[job_id] = ask(str(SOCKET), question, timeout=START_S)
        kind = KINDS.get(answer.get("policy", ""))
        if kind is None:
            return None
        flags = STATIC_NODES | (NUMA_BALANCING if answer["numa_balancing"] == "1" else 0)
        return memory_policy(kind | flags, [int(node) for node in answer["nodes"].split(",")])

    def known(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """What it answered to each job's task, and what it knows of the job now."""
        events = json.loads(ask(str(SOCKET), {"op": "events"}, timeout=START_S)["json"])
        found: dict[str, Any] = {"log": self.log(), "events": events}
        for job in jobs:
            now = ask(str(SOCKET), {"op": "job", "job_id": job.job_id}, timeout=START_S)
            found[job.workflow] = {"answer": self._answers[job.job_id], "job": json.loads(now["json"])}
        return found

    def stop(self) -> None:
        """Tell it that the jobs have ended, as the epilog does, and end it."""
        for job_id in self._answers:
            ask(str(SOCKET), {"op": "epilog", "job_id": job_id, "uid": USER}, timeout=START_S)
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def log(self) -> str:
        """What it wrote."""
        return (FOLDER / "agent.log").read_text(errors="replace")[-4000:]

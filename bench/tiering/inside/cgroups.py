"""Jobs where Slurm would put them: a cgroup each, a user of their own, a memory limit above what they use."""

from __future__ import annotations

import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
NODE = "bench"
ROOT = MOUNT / f"system.slice/{NODE}_slurmstepd.scope"
USER = pwd.getpwnam("nobody").pw_uid
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "PYTHONPATH": "/bench/site:/opt/tierwise/bench",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
}
SET_MEMPOLICY = 238  # the system call's number on x86-64


def prepare() -> None:
    """Make the cgroup that all jobs are in."""
    for folder in (MOUNT, MOUNT / "system.slice", ROOT):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.subtree_control").write_text("+memory")


class Job:
    """One job, started under the memory policy that `policy` sets in its process before it runs. Wait for its
    `ready`, let it `go`, and `done` is what it printed in the end."""

    def __init__(
        self, job_id: int, workflow: str, cpu: int, limit: int, policy: Callable[[], None] | None = None
    ) -> None:
        self.job_id, self.workflow, self.cpu = job_id, workflow, cpu
        self.folder = ROOT / f"job_{job_id}"
        (self.folder / "step_0").mkdir(parents=True)
        (self.folder / "memory.max").write_text(str(limit))

        def enter() -> None:
            (self.folder / "step_0/cgroup.procs").write_text(str(os.getpid()))
            if policy:
                policy()
            os.setgid(USER)
            os.setuid(USER)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "tiering.inside.job", self.workflow, str(self.cpu)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=enter,  # noqa: PLW1509
            cwd="/",
            env=ENVIRONMENT,
        )

    def await_ready(self) -> None:
        """Wait until it has loaded what it needs."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"{self.workflow} did not get ready: it said {line!r}, exit {self.process.wait()}")

    def go(self) -> None:
        """Let it work."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def done(self) -> str:
        """Wait for its end; the JSON that it printed."""
        output, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise RuntimeError(f"{self.workflow} failed with exit {self.process.returncode}: {output}")
        return output

    def peak(self) -> int:
        """The most bytes that its cgroup was charged with, page cache included."""
        return int((self.folder / "memory.peak").read_text())

    def remove(self) -> None:
        """End it if it still runs, and remove its cgroups."""
        self.process.kill()
        self.process.wait()
        (self.folder / "step_0").rmdir()
        self.folder.rmdir()


def memory_policy(kind: int, nodes: list[int]) -> Callable[[], None]:
    """Something that gives the calling process this memory policy (set_mempolicy(2): mode with its flags)."""

    def apply() -> None:
        mask = ctypes.c_ulong(sum(1 << node for node in nodes))
        if ctypes.CDLL(None, use_errno=True).syscall(SET_MEMPOLICY, kind, ctypes.byref(mask), 65) != 0:
            raise OSError(ctypes.get_errno(), f"set_mempolicy({kind}, {nodes})")

    return apply

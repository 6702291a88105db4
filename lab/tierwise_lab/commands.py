"""What a user or an admin does on a running Slurm: submit, ask, wait; always with a deadline."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence

from tierwise_lab import accounts, chroot
from tierwise_lab.daemons import LabError, pauses
from tierwise_lab.layout import Layout
from tierwise_lab.options import StackOptions

ALICE, BOB = accounts.JOB_USERS
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")


class Commands:
    """Slurm's commands on the stack that a subclass runs."""

    options: StackOptions

    @property
    def layout(self) -> Layout:
        """The folders of the running stack; LabError while it is not running."""
        raise NotImplementedError

    def run(
        self,
        argv: Sequence[str],
        user: str = ALICE,
        stdin: str | None = None,
        timeout: float = 120,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as `user` ("root" for an admin) on this stack; any exit code is an answer."""
        return subprocess.run(
            [*self.entrance(user), *argv],
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.environment(user), **(env or {})},
            **self._as(user),
        )

    def popen(self, argv: Sequence[str], user: str = ALICE, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command as `run` does, and return while it runs."""
        return subprocess.Popen(
            [*self.entrance(user), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment(user), **(env or {})},
            **self._as(user),
        )

    def attach(self, argv: Sequence[str], user: str = ALICE) -> int:
        """Run a command as `user` on this terminal and return its exit code."""
        terminal = {"TERM": os.environ.get("TERM", "dumb")}
        return subprocess.run(
            [*self.entrance(user), *argv],
            check=False,
            env=self.environment(user) | terminal,
            **self._as(user),
        ).returncode

    def sbatch(self, script: str, *args: str, user: str = ALICE) -> int:
        """Submit a batch script (its text) and return the job id; LabError with sbatch's words if refused."""
        done = self.run(["sbatch", "--parsable", *args], user=user, stdin=script)
        if done.returncode != 0:
            raise LabError(f"sbatch {' '.join(args)}: exit {done.returncode}: {done.stderr.strip()}")
        return int(done.stdout.split(";")[0])

    def job(self, job_id: int | str) -> dict[str, str]:
        """The fields of `scontrol show job -o`; of an array or het job the first record."""
        return self.jobs(job_id)[0]

    def jobs(self, job_id: int | str) -> list[dict[str, str]]:
        """All records of `scontrol show job -o`: array tasks and het components have one each."""
        done = self.run(["scontrol", "show", "job", "-o", str(job_id)], user="root")
        if done.returncode != 0:
            raise LabError(f"scontrol show job {job_id}: {done.stderr.strip()}")
        return [fields(line) for line in done.stdout.splitlines() if line.strip()]

    def wait(self, job_id: int | str, *states: str, timeout: float = 120) -> dict[str, str]:
        """Wait until every record of the job is in one of `states` (default: ended) and return the first.

        LabError after `timeout` seconds, and at once when a record has ended in a state that isn't wanted.
        """
        wanted = states or ENDED
        deadline, sleeps = time.monotonic() + timeout, pauses()
        while True:
            found = self.jobs(job_id)
            if all(job["JobState"] in wanted for job in found):
                return found[0]
            lost = [job for job in found if job["JobState"] in ENDED and job["JobState"] not in wanted]
            if lost or time.monotonic() > deadline:
                raise LabError(
                    f"job {job_id} is {[(job['JobState'], job['Reason']) for job in found]}, not {' or '.join(wanted)}"
                )
            time.sleep(next(sleeps))

    def output(self, job_id: int | str, user: str = ALICE) -> str:
        """What a batch job wrote to its default output file."""
        return (self.layout.home(user) / f"slurm-{job_id}.out").read_text(errors="replace")

    def node_states(self) -> dict[str, str]:
        """State of each node as `sinfo` words it in long form ("idle", "mixed", "drained", "down*")."""
        done = self.run(["sinfo", "-h", "-N", "-o", "%N %T"], user="root")
        return dict(line.split() for line in done.stdout.splitlines())

    def drained(self) -> dict[str, str]:
        """The nodes that are drained, draining or down: what no failure of ours may cause."""
        return {
            node: state for node, state in self.node_states().items() if state.startswith(("drain", "down", "fail"))
        }

    def entrance(self, user: str) -> list[str]:
        """The prefix that runs a command inside slurm_root as `user`; nothing without one."""
        return chroot.command(self.layout, user) if self.options.slurm_root else []

    def environment(self, user: str) -> dict[str, str]:
        """What a command of `user` needs to find this Slurm, and nothing of ours."""
        return {
            "PATH": f"{self.layout.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SLURM_CONF": str(self.layout.slurm_conf),
            "TIERWISE_CONFIG": str(self.layout.config),
            "USER": user,
            "LOGNAME": user,
            "HOME": str(self.layout.home(user)),
            "LANG": "C.UTF-8",
        }

    def _as(self, user: str) -> accounts.Process:
        """How subprocess starts it: chroot itself needs root, and changes the user after that."""
        inside = self.options.slurm_root is not None
        return {**accounts.identity("root" if inside else user), "cwd": self.layout.home(user)}


def fields(line: str) -> dict[str, str]:
    """The key=value pairs of one line of `scontrol -o`; a value may hold blanks (Comment=…)."""
    return {key: value.strip() for key, value in re.findall(r"([A-Z][\w/:]*)=(.*?)(?= [A-Z][\w/:]*=|$)", line)}

"""Records what a real Slurm answers the client: `python tests/slurm/record.py RELEASE [ROOT]`.

Writes recorded/RELEASE.json: each command of the client with its output. ROOT is a directory tree with another release
than this machine's (`tierwise_lab.image.chroot_root`). Accounting needs mariadbd and slurmdbd.
Run it again when the client asks for something new.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tierwise.slurm import SlurmError
from tierwise_lab import accounts
from tierwise_lab.commands import ENDED
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack
from tierwise_slurm.client import Client
from tierwise_slurm.opening import of

HERE = Path(__file__).parent
NASTY = "x UserId=root(0) JobState=COMPLETED Restarts=9"
HOLD = "python3 -c 'b = bytearray(300 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1'\n"
JOBS = {
    "well": ("exit 0\n", ["--mem=100"]),
    "nasty": ("exit 0\n", ["--mem=100", f"--comment={NASTY}\nsecond line tierwise=0123456789abcdef", "--chdir=/tmp"]),
    "fails": ("exit 7\n", ["--mem=100"]),
    "signal": ("kill -SEGV $$\n", ["--mem-per-cpu=50", "-n2", "-N1", "--time=10"]),
    "memory": (HOLD, ["--mem=100", "--no-requeue"]),
    "step": (f"srun {HOLD}exit 0\n", ["--mem=100"]),
    "array": ("test $SLURM_ARRAY_TASK_ID = 1\n", ["--mem=100", "--array=1-2"]),
    "cancelled": ("sleep 300\n", ["--mem=100", "--time=30"]),
    "two nodes": ("srun sleep 1\n", ["--mem=150", "-N2"]),
}


class Recorder:
    """Runs the client's commands inside a stack and remembers what they printed."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.calls: list[dict[str, object]] = []

    def __call__(self, argv: Sequence[str]) -> str:
        done = self._stack.run(list(argv), user="root", env={"SLURM_TIME_FORMAT": "%s"})
        self.calls.append({"argv": list(argv), "status": done.returncode, "output": done.stdout})
        if done.returncode != 0:
            raise SlurmError(f"{argv[0]}: {done.stderr.strip()}")
        return done.stdout


def record(release: str, root: Path | None) -> None:
    options = StackOptions(nodes=2, service=False, agents=False, slurm_root=root, with_tierwise=False, prolog_flags="")
    accounting = root is None and shutil.which("mariadbd") and shutil.which("slurmdbd")
    with Stack(options) as stack, Accounting(stack) if accounting else contextlib.nullcontext():
        recorder = Recorder(stack)
        client = of(recorder)
        jobs, held = run_jobs(stack, client)
        for job_id in jobs.values():
            client.job(job_id)
            client.script(job_id)
        client.capacity("main")
        if client.accounted():
            time.sleep(3)  # slurmctld tells slurmdbd every other second
            client.ended(int((time.time() - 600) * 1e9))
        target = HERE / "recorded" / f"{release}.json"
        kept = {"release": client.version(), "jobs": jobs, "held": held, "calls": recorder.calls}
        target.write_text(json.dumps(kept, indent=1) + "\n")
        print(target, len(recorder.calls), "calls of", client.version())


def run_jobs(stack: Stack, client: Client) -> tuple[dict[str, int], int]:
    """The ids of the jobs that have ended, and of one that is held and was changed."""
    jobs = {}
    for name, (script, arguments) in JOBS.items():
        jobs[name] = stack.sbatch(f"#!/bin/sh\n{script}", f"--job-name={name} {NASTY}", *arguments)
    wait_until(lambda: states(stack, jobs["cancelled"]) == {"RUNNING"}, "the job to cancel", 60)
    stack.run(["scancel", str(jobs["cancelled"])])
    for job_id in jobs.values():
        wait_until(partial(over, stack, job_id), f"the end of job {job_id}", 60)
    held = stack.sbatch("#!/bin/sh\n:\n", "--job-name=held", "--begin=now+1hour", "--mem=100")
    waiting = client.job(held)
    assert waiting is not None
    client.update(waiting, memory=200 << 20, seconds=600)
    client.job(held)
    return jobs, held


def states(stack: Stack, job_id: int) -> set[str]:
    """The states of a job's records, of which some have line breaks."""
    told = stack.run(["squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T"], user="root")
    return set(told.stdout.split())


def over(stack: Stack, job_id: int) -> bool:
    return states(stack, job_id) <= set(ENDED)


class Accounting:
    """A private MariaDB and a slurmdbd beside a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._folder = Path(tempfile.mkdtemp(prefix="tw-dbd-"))
        self._folder.chmod(0o755)
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> None:
        stack = self._stack
        data, socket, user = self._folder / "data", self._folder / "mysql.sock", "tierwise-slurm"
        data.mkdir()
        shutil.chown(self._folder, user)
        shutil.chown(data, user)
        subprocess.run(
            ["mariadb-install-db", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL, **accounts.identity(user),
        )  # fmt: skip
        self._spawn(
            ["mariadbd", f"--datadir={data}", f"--socket={socket}", "--skip-networking", "--skip-grant-tables"], user
        )
        wait_until(socket.exists, "mariadbd", 30)
        subprocess.run(["mariadb", f"--socket={socket}", "-e", "CREATE DATABASE slurm_acct_db"], check=True)
        conf = self._folder / "slurmdbd.conf"
        conf.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={stack.layout.munge_socket}\nDbdHost=localhost\nDbdPort=17799\n"
            f"SlurmUser={user}\nStorageType=accounting_storage/mysql\nStorageHost=localhost\nStorageUser=root\n"
            f"StorageLoc=slurm_acct_db\nLogFile={self._folder}/log\nPidFile={self._folder}/pid\n"
        )
        conf.chmod(0o600)
        shutil.chown(conf, user)
        self._spawn(
            ["slurmdbd", "-D"],
            user,
            {
                "SLURM_CONF": str(self._folder / "slurm.conf"),
                "MYSQL_UNIX_PORT": str(socket),
                "PATH": "/usr/sbin:/usr/bin",
            },
        )
        stack.stop("slurmctld")
        with stack.layout.slurm_conf.open("a") as slurm_conf:
            slurm_conf.write(
                "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=localhost\n"
                f"AccountingStoragePort=17799\nAccountingStoragePass={stack.layout.munge_socket}\n"
                "JobAcctGatherFrequency=1\n"
            )
        wait_until(
            lambda: stack.run(["sacctmgr", "-n", "show", "cluster"], user="root").returncode == 0, "slurmdbd", 60
        )
        stack.run(["sacctmgr", "-i", "add", "cluster", "tierwise-lab"], user="root")
        stack.start("slurmctld")
        wait_until(lambda: set(stack.node_states().values()) == {"idle"}, "the nodes", 60)

    def __exit__(self, *error: object) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(30)
        shutil.rmtree(self._folder)

    def _spawn(self, argv: list[str], user: str, env: dict[str, str] | None = None) -> None:
        log = (self._folder / f"{argv[0]}.out").open("wb")
        self._running.append(subprocess.Popen(argv, env=env, stdout=log, stderr=log, **accounts.identity(user)))


if __name__ == "__main__":
    record(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)

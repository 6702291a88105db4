"""The stack starter itself: it starts, takes jobs, and leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierwise_lab import cgroups
from tierwise_lab.commands import ALICE, BOB, fields
from tierwise_lab.daemons import wait_until
from tierwise_lab.layout import BASE
from tierwise_lab.options import REPOSITORY, StackOptions
from tierwise_lab.stack import Stack
from tierwise_lab.teardown import down

PLAIN = StackOptions(with_tierwise=False, nodes=2)
FOREVER = "#!/bin/sh\nexec sleep 600\n"


@pytest.fixture(scope="module")
def plain() -> Iterator[Stack]:
    """Slurm as it is without us."""
    with Stack(PLAIN) as stack:
        yield stack


def left_behind(stack: Stack, top: Path) -> list[str]:
    """Files, mounts, cgroups and processes of a stack that has ended."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(top) in line]
    groups = [str(root) for node in stack.nodes for root in cgroups.node_roots(node.name) if root.exists()]
    processes = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(top) in command:
            processes.append(command)
    return mounts + groups + processes + ([str(top)] if top.exists() else [])


@pytest.mark.parametrize("user", [ALICE, BOB])
def test_each_user_runs_a_job(plain: Stack, user: str) -> None:
    job = plain.sbatch("#!/bin/sh\nid -un\nsrun id -un\n", user=user)
    assert plain.wait(job)["JobState"] == "COMPLETED"
    assert plain.output(job, user).split() == [user, user]


def test_the_controller_is_not_root(plain: Stack) -> None:
    pid = plain.daemons["slurmctld"].pid
    assert os.stat(f"/proc/{pid}").st_uid != 0


def test_a_crashed_slurmd_comes_back_under_its_job(plain: Stack) -> None:
    job = plain.sbatch("#!/bin/sh\nuntil test -e go; do sleep 0.05; done\n")
    node = plain.wait(job, "RUNNING")["BatchHost"]
    plain.kill9(f"slurmd-{node}")
    plain.start(f"slurmd-{node}")
    plain.run(["touch", "go"])
    assert plain.wait(job)["JobState"] == "COMPLETED"


def test_two_stacks_beside_each_other(plain: Stack) -> None:
    with Stack(PLAIN) as other:
        assert not {node.name for node in other.nodes} & {node.name for node in plain.nodes}
        job = other.sbatch("#!/bin/sh\ntrue\n")
        assert other.wait(job)["JobState"] == "COMPLETED"


def test_nothing_is_left_of_running_and_suspended_jobs() -> None:
    with Stack(PLAIN) as stack:
        top = stack.layout.top
        running, suspended = stack.sbatch(FOREVER), stack.sbatch(FOREVER)
        stack.wait(running, "RUNNING")
        stack.wait(suspended, "RUNNING")
        stack.run(["scontrol", "suspend", str(suspended)], user="root")
        stack.wait(suspended, "SUSPENDED")
    assert left_behind(stack, top) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_starter_leaves_nothing(ending: signal.Signals) -> None:
    program = (
        "import time; from tierwise_lab.stack import *\n"
        "with Stack(StackOptions(with_tierwise=False, nodes=1)) as stack:\n"
        "    print(stack.layout.top, stack.sbatch('#!/bin/sh\\nexec sleep 600\\n'), flush=True)\n"
        "    while True: time.sleep(0.1)\n"  # a signal that comes just before signal.pause() would not end that
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "lab")},
    )
    assert starter.stdout is not None
    top = Path(starter.stdout.readline().split()[0])
    starter.send_signal(ending)
    starter.wait()
    starter.stdout.close()
    if ending == signal.SIGKILL:
        assert top in down()
    assert left_behind(Stack(), top) == []


def test_up_outlives_its_starter_until_down() -> None:
    def stack_command(*args: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "tierwise_lab.stack", *args],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "lab")},
        ).stdout

    exports = stack_command("up", "--plain", "--nodes", "1")
    conf = exports.partition("SLURM_CONF=")[2].split()[0]
    ping = subprocess.check_output(["scontrol", "ping"], env={**os.environ, "SLURM_CONF": conf}, text=True)
    assert "UP" in ping
    assert str(Path(conf).parents[1]) in stack_command("down")
    wait_until(lambda: not Path(conf).exists(), "the kept stack to be gone", 60)


def test_fields_may_hold_blanks() -> None:
    line = "JobId=7 Comment=my own words tierwise=00 Reason=None TRES=cpu=1,mem=2G StdOut=/x/y "
    assert fields(line)["Comment"] == "my own words tierwise=00"
    assert fields(line)["TRES"] == "cpu=1,mem=2G"


def test_directory_is_not_where_job_containers_hide_it() -> None:
    assert not str(BASE).startswith(("/tmp", "/dev/shm"))

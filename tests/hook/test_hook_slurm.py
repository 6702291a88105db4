"""The hook in a real slurmctld, asking the real service: whose token is whose, and which jobs get our GRES.

What happens when things break is tests/native/test_fail_open.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tierwise_lab.commands import ALICE, BOB
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

LATER = "--begin=now+1hour"
TRUE = "#!/bin/sh\ntrue\n"
PLANNED = ("--tier=cap", "--mem=200M")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(StackOptions(nodes=2)) as running:
        wait_until(lambda: gres(running, running.sbatch(TRUE, LATER, *PLANNED)), "the service to know the nodes", 60)
        yield running


@pytest.fixture(autouse=True)
def empty_queue(stack: Stack) -> Iterator[None]:
    yield
    stack.run(["scancel", "--quiet", "--user", f"{ALICE},{BOB}"], user="root")
    assert stack.drained() == {}


def comment(stack: Stack, job: int | str) -> str:
    return stack.job(job).get("Comment", "").strip()


def token(stack: Stack, job: int | str) -> str:
    return comment(stack, job).rpartition("tierwise=")[2]


def gres(stack: Stack, job: int) -> str:
    return stack.job(job).get("TresPerNode", "")


def update(stack: Stack, job: int | str, text: str, user: str = ALICE) -> None:
    done = stack.run(["scontrol", "update", f"JobId={job}", f"Comment={text}"], user=user)
    assert done.returncode == 0, done.stderr


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_a_token_is_not_for_the_taking(stack: Stack) -> None:
    planned = stack.sbatch(TRUE, LATER, *PLANNED)
    assert len(token(stack, planned)) == 16
    stolen = f"tierwise={token(stack, planned)}"
    assert comment(stack, stack.sbatch(TRUE, LATER, f"--comment={stolen}", user=BOB)) == ""
    own = stack.sbatch(TRUE, LATER, f"--comment=mine {stolen}", *PLANNED, user=BOB)
    assert comment(stack, own) == f"mine tierwise={token(stack, own)}"
    assert token(stack, own) != token(stack, planned)

    update(stack, own, f"new {stolen}", user=BOB)
    assert comment(stack, own) == f"new tierwise={token(stack, own)}"
    assert token(stack, own) != token(stack, planned)
    plain = stack.sbatch(TRUE, LATER, user=BOB)
    update(stack, plain, f"{stolen} words {stolen}", user=BOB)
    assert comment(stack, plain) == "words"


def test_nor_while_the_service_is_dead(stack: Stack) -> None:
    stack.stop("decision")
    try:
        job = stack.sbatch(TRUE, LATER, "--comment=tierwise=0123456789abcdef mine")
        assert comment(stack, job) == "mine"
    finally:
        stack.start("decision")
        wait_until(lambda: token(stack, stack.sbatch(TRUE, LATER, *PLANNED)), "the hook to trust it again", 60)


def test_array_tasks_keep_theirs(stack: Stack) -> None:
    job = stack.sbatch(TRUE, LATER, "--array=1-3", *PLANNED)
    before = token(stack, job)
    update(stack, f"{job}_2", "second")
    update(stack, f"{job}_3", "")
    update(stack, job, "all")
    assert {token(stack, record["JobId"]) for record in stack.jobs(job)} == {before}
    assert {comment(stack, record["JobId"]) for record in stack.jobs(job)} == {f"all tierwise={before}"}


def test_a_comment_without_room_for_a_token(stack: Stack) -> None:
    """Slurm rejects a comment of more than 1024 bytes: then the job goes in without a plan."""
    text = "x" * 1010
    assert comment(stack, stack.sbatch(TRUE, LATER, f"--comment={text}", *PLANNED)) == text


# --- GRES -----------------------------------------------------------------------------------------------------------


def test_ours_are_the_jobs_memory(stack: Stack) -> None:
    assert gres(stack, stack.sbatch(TRUE, LATER, *PLANNED)) == "gres:tier_dram:200"
    assert (
        gres(stack, stack.sbatch(TRUE, LATER, "--tier=cap", "--mem-per-cpu=100", "-n2", "-N1")) == "gres:tier_dram:200"
    )
    assert gres(stack, stack.sbatch(TRUE, LATER, "--tier=cap")) == "gres:tier_dram:256"  # DefMemPerNode


@pytest.mark.parametrize("own", ["--gres=tier_dram:7", "--gres=none"])
def test_own_gres_stay(stack: Stack, own: str) -> None:
    job = stack.sbatch(TRUE, LATER, own, *PLANNED)
    assert gres(stack, job) == ("gres:tier_dram:7" if own != "--gres=none" else "gres:tier_dram:200")
    assert len(token(stack, job)) == 16


def test_a_child_of_a_planned_job_keeps_its_own_gres(stack: Stack) -> None:
    """It inherits SLURM_STEP_GRES=none from its parent: its steps would have got none of its GRES."""
    child = "srun -n1 sh -c 'scontrol show step $SLURM_JOB_ID.0'"
    parent = (
        f'#!/bin/sh\nsbatch --wait --gres=tier_dram:7 --mem=50M --output=child.out --wrap "{child}"\ncat child.out\n'
    ).replace("$", r"\$")
    job = stack.sbatch(parent, *PLANNED)
    assert stack.wait(job)["JobState"] == "COMPLETED"
    assert "TresPerNode=gres:tier_dram:7" in stack.output(job)


def test_where_the_users_nodes_have_none(stack: Stack) -> None:
    """One node loses its Gres: a job that may use the other gets ours, one that insists on this one is let in."""
    bare = stack.nodes[1].name
    conf = stack.layout.slurm_conf
    before = conf.read_text()
    lines = [line.split(" Gres=")[0] if f"NodeName={bare} " in line else line for line in before.splitlines()]
    restart(stack, "\n".join(lines) + "\n")
    try:
        assert gres(stack, stack.sbatch(TRUE, LATER, *PLANNED)) == "gres:tier_dram:200"
        for choice in (f"--nodelist={bare}", f"--exclude={stack.nodes[0].name}", "--nodes=2"):
            job = stack.sbatch(TRUE, LATER, choice, *PLANNED)
            assert gres(stack, job) == ""
            assert len(token(stack, job)) == 16
    finally:
        restart(stack, before)


def restart(stack: Stack, conf: str) -> None:
    """Start Slurm's daemons with another slurm.conf, as Slurm wants it where Gres change."""
    names = ["slurmctld", *(f"slurmd-{node.name}" for node in stack.nodes)]
    for name in names:
        stack.stop(name)
    stack.layout.slurm_conf.write_text(conf)
    for name in names:
        stack.start(name)
    wait_until(lambda: set(stack.node_states().values()) == {"idle"}, "the nodes to come back", 60)


# --- what users are told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["sbatch", "--wrap=true"], ["srun", "true"], ["salloc", "true"]])
def test_more_than_the_memory_asked_for(stack: Stack, command: list[str]) -> None:
    before = stack.run(["squeue", "-h"], user="root").stdout
    done = stack.run([command[0], "--tier=lat:300M", "--mem=200M", *command[1:]])
    assert done.returncode != 0
    assert "tierwise: " in done.stderr
    assert "Memory required by task is not available" in done.stderr
    assert "300 MiB" in done.stderr
    assert "200 MiB" in done.stderr
    assert stack.run(["squeue", "-h"], user="root").stdout == before


def test_more_than_the_default_memory_is_clipped(stack: Stack) -> None:
    done = stack.run(["sbatch", "--tier=lat:300M", LATER, "--wrap=true"])
    assert done.returncode == 0
    assert "tierwise: " in done.stderr


def test_silence_for_who_asked_for_nothing(stack: Stack) -> None:
    assert stack.run(["sbatch", LATER, "--wrap=true"]).stderr == ""

"""Jobs that fail for lack of memory or time and come back by themselves, on a real Slurm with a real OOM killer."""

from __future__ import annotations

import pytest
from asking import job_known, reports

from tierwise.messages import Attempt
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.stack import Stack

MIB = 1 << 20
TOO_SMALL = "--mem=100M"
HOLD = """python3 -c '
held = bytearray(150 << 20)
for page in range(0, len(held), 4096):
    held[page] = 1
'
"""


def hungry(kind: str) -> str:
    """A script that needs more than TOO_SMALL; each kind has a history of its own."""
    return f"#!/bin/sh\n# {kind}\nexec {HOLD}"


@pytest.fixture
def folder(stack: Stack) -> str:
    """A fresh directory of alice's."""
    return stack.run(["mktemp", "-d", "-p", str(stack.layout.home(ALICE))]).stdout.strip()


def attempts(stack: Stack, job_id: int | str, count: int) -> tuple[Attempt, ...]:
    """The runs of a job that the service knows of, once there are `count` of them."""
    what = f"{count} attempts of job {job_id}"
    return job_known(stack, job_id, lambda view: len(view.attempts) >= count, what, 120).attempts


@pytest.mark.parametrize("tier", [["--tier=cap"], []], ids=["planned", "unplanned"])
def test_too_little_memory_ends_well_and_the_dependent_runs_after_it(stack: Stack, tier: list[str]) -> None:
    job = stack.sbatch(hungry("planned" if tier else "unplanned"), TOO_SMALL, "--tier-retry=2", *tier)
    after = stack.sbatch("#!/bin/sh\ntrue\n", f"--dependency=afterok:{job}")
    wait_until(lambda: stack.job(job)["JobState"] == "COMPLETED", f"job {job} to end well", 120)
    assert stack.wait(after)["JobState"] == "COMPLETED"
    assert stack.job(job)["MinMemoryNode"] == "200M"
    assert stack.job(job)["Restarts"] == "1"
    first, second = attempts(stack, job, 2)
    assert (first.cause, first.memory, first.restart) == ("memory", 100 * MIB, 0)
    assert "requeued with 200 MiB" in first.action
    assert (second.cause, second.memory, second.restart) == ("well", 200 * MIB, 1)
    if tier:
        assert stack.job(job)["TresPerNode"] == "gres:tier_dram:200"
        plans = {report.key.restart: report.plan for report in reports(stack, job, 2)}
        assert [plans[restart] and plans[restart].size for restart in (0, 1)] == [100 * MIB, 200 * MIB]


def test_in_an_array_only_the_failed_task_is_mended(stack: Stack) -> None:
    script = f"#!/bin/sh\ntest $SLURM_ARRAY_TASK_ID = 2 || exit 0\nexec {HOLD}"
    job = stack.sbatch(script, TOO_SMALL, "--tier-retry=1", "--array=1-3")
    wait_until(lambda: {task["JobState"] for task in stack.jobs(job)} == {"COMPLETED"}, "all tasks to end well", 120)
    tasks = {task["ArrayTaskId"]: task for task in stack.jobs(job)}
    assert {name: task["Restarts"] for name, task in tasks.items()} == {"1": "0", "2": "1", "3": "0"}
    assert {name: task["MinMemoryNode"] for name, task in tasks.items()} == {"1": "100M", "2": "200M", "3": "100M"}


def test_no_more_often_than_allowed(stack: Stack) -> None:
    job = stack.sbatch(hungry("once"), "--mem=30M", "--tier-retry=1")
    wait_until(lambda: stack.job(job)["JobState"] == "OUT_OF_MEMORY", "the job to give up", 120)
    assert stack.job(job)["Restarts"] == "1"
    _, last = attempts(stack, job, 2)
    assert (last.memory, last.cause) == (60 * MIB, "memory")
    assert "it has had its 1 retries" in last.action


def test_who_says_no_requeue_is_not_requeued(stack: Stack) -> None:
    job = stack.sbatch(hungry("no requeue"), TOO_SMALL, "--tier-retry=1", "--no-requeue")
    assert stack.wait(job)["JobState"] == "OUT_OF_MEMORY"
    (only,) = attempts(stack, job, 1)
    assert "--no-requeue" in only.action


def test_a_job_that_ends_well_is_known_too(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\ntrue\n", TOO_SMALL, "--tier=cap")
    assert stack.wait(job)["JobState"] == "COMPLETED"
    (only,) = attempts(stack, job, 1)
    assert (only.cause, only.memory, only.cpus, only.action) == ("well", 100 * MIB, 1, "")


def test_not_without_permission(stack: Stack) -> None:
    job = stack.sbatch(hungry("no permission"), TOO_SMALL)
    assert stack.wait(job)["JobState"] == "OUT_OF_MEMORY"
    (only,) = attempts(stack, job, 1)
    assert (only.cause, only.action) == ("memory", "")


def test_a_step_that_is_killed_decides_only_if_the_job_fails(stack: Stack, folder: str) -> None:
    step = f"srun {HOLD}"
    ended_well = stack.sbatch(f"#!/bin/sh\n{step}\nexit 0\n", TOO_SMALL, "--tier-retry=1", f"--chdir={folder}")
    failed = stack.sbatch(
        f"#!/bin/sh\n{step}\ntest $? = 0 || exit 3\n", TOO_SMALL, "--tier-retry=1", f"--chdir={folder}"
    )
    assert stack.wait(ended_well)["JobState"] == "COMPLETED"
    (only,) = attempts(stack, ended_well, 1)
    assert (only.cause, stack.job(ended_well)["Restarts"]) == ("memory", "0")
    wait_until(lambda: stack.job(failed)["JobState"] == "COMPLETED", "the job to end well", 120)
    assert stack.job(failed)["MinMemoryNode"] == "200M"


def test_the_programs_own_failure_is_left_alone(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nexit 7\n", TOO_SMALL, "--tier-retry=3")
    assert stack.wait(job)["JobState"] == "FAILED"
    (only,) = attempts(stack, job, 1)
    assert (only.cause, only.exit_code) == ("program", 7)
    assert "own failure" in only.action


def test_a_node_that_fails_is_told_apart(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsleep 30\n", TOO_SMALL, "--tier-retry=3", "--no-requeue")
    node = stack.wait(job, "RUNNING")["BatchHost"]
    stack.run(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"], user="root")
    try:
        assert stack.wait(job)["JobState"] == "NODE_FAIL"
        (only,) = attempts(stack, job, 1)
        assert only.cause == "node"
    finally:
        stack.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], user="root")
    wait_until(lambda: stack.drained() == {}, "the node to be back", 60)


def test_a_job_that_its_user_cancels_stays_cancelled(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsleep 300\n", TOO_SMALL, "--tier-retry=3")
    stack.wait(job, "RUNNING")
    stack.run(["scancel", str(job)])
    assert stack.wait(job)["JobState"] == "CANCELLED"
    wait_until(lambda: attempts(stack, job, 1)[0].cause == "cancelled", "the service to know", 60)


def test_a_dead_service_holds_nobody(stack: Stack) -> None:
    stack.stop("decision")
    try:
        job = stack.sbatch(hungry("no service"), TOO_SMALL, "--tier-retry=1")
        assert stack.wait(job)["JobState"] == "OUT_OF_MEMORY"
    finally:
        stack.start("decision")
    assert stack.drained() == {}

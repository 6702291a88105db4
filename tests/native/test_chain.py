"""The life of a job on a real Slurm, from sbatch to report: the hook, Slurm's books, the agent, the service."""

from __future__ import annotations

import pytest
from asking import job_view, reports, sample

from tierwise.directive import parse_directive
from tierwise.messages import JobSample
from tierwise_lab.commands import ALICE, BOB, fields
from tierwise_lab.daemons import wait_until
from tierwise_lab.stack import Stack

MIB = 1 << 20
HOLD = """#!/bin/sh
python3 -c '
import time, pathlib
held = bytearray(100 << 20)
for page in range(0, len(held), 4096):
    held[page] = 1
pathlib.Path("held").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.05)
'
"""


@pytest.fixture
def folder(stack: Stack) -> str:
    """A fresh directory of alice's; its job waits there for a file named `go`."""
    return stack.run(["mktemp", "-d", "-p", str(stack.layout.home(ALICE))]).stdout.strip()


def holding(now: JobSample) -> JobSample | None:
    """The sample, if the job has the memory that its script takes."""
    return now if now.found.get("dram", 0) >= 100 * MIB else None


def dram_used(stack: Stack, node: str) -> int:
    """What Slurm's books say that jobs hold of a node's fastest tier, in MiB."""
    said = stack.run(["scontrol", "show", "node", "-d", "-o", node], user="root").stdout
    return int(fields(said)["GresUsed"].split(",")[0].removeprefix("tier_dram:"))


@pytest.mark.parametrize("directive", ["lat", "bw", "cap", "shl", "lat:64M,cap", "LAT:50%,bw"])
def test_sbatch_to_report(stack: Stack, folder: str, directive: str) -> None:
    job = stack.sbatch(HOLD, f"--tier={directive}", "--mem=300M", "--comment=my words", f"--chdir={folder}")
    running = stack.wait(job, "RUNNING")
    token = running["Comment"].removeprefix("my words tierwise=")
    assert len(token) == 16
    assert running["TresPerNode"] == "gres:tier_dram:300"
    assert dram_used(stack, running["BatchHost"]) == 300

    wait_until(lambda: stack.run(["test", "-e", f"{folder}/held"]).returncode == 0, "the job to hold memory", 60)
    held = wait_until(
        lambda: (now := sample(stack, job, running["BatchHost"])) and holding(now),
        "the agent to see the job's memory",
        60,
    )
    assert held.key.token == token
    assert held.plan is not None
    assert held.plan.size == 300 * MIB
    assert sum(held.plan.tiers.values()) == 300 * MIB
    assert not held.plan.degraded

    stack.run(["touch", f"{folder}/go"])
    assert stack.wait(job)["JobState"] == "COMPLETED"
    wait_until(lambda: dram_used(stack, running["BatchHost"]) == 0, "Slurm's books to be as before", 60)
    (report,) = reports(stack, job)
    assert (report.key.token, report.key.restart, report.node) == (token, 0, running["BatchHost"])
    assert report.end == "epilog"
    assert report.whole
    assert parse_directive(report.directive) == parse_directive(directive)
    assert report.memory == 300 * MIB
    assert report.plan == held.plan
    assert report.peak >= 100 * MIB
    assert report.tiers["dram"].peak >= 100 * MIB
    assert report.tiers["dram"].byte_seconds > 0
    assert report.minor_faults > 0


def test_a_directive_in_the_script(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\n#SBATCH --tier=cap --mem=200M\ntrue\n")
    stack.wait(job, "COMPLETED")
    (report,) = reports(stack, job)
    assert report.directive == "cap"


def test_export_none_keeps_the_plan(stack: Stack) -> None:
    script = f"#!/bin/sh\nexport SLURM_CONF={stack.layout.slurm_conf}\nsrun --export=ALL true\n"
    job = stack.sbatch(script, "--tier=cap", "--mem=200M", "--export=NONE")
    stack.wait(job, "COMPLETED")
    (report,) = reports(stack, job)
    assert report.plan is not None


def test_without_a_directive_there_is_no_plan(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsleep 1\n", "--mem=200M", "--comment=mine")
    ended = stack.wait(job, "COMPLETED")
    assert ended["Comment"] == "mine"
    (report,) = reports(stack, job)
    assert report.plan is None
    assert "history" in report.reason


def test_off_is_no_plan(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\ntrue\n", "--tier=off", "--mem=200M")
    assert "tierwise=" not in stack.wait(job, "COMPLETED").get("Comment", "")


def test_the_token_survives_a_new_comment(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsleep 60\n", "--tier=cap", "--mem=200M", "--comment=old")
    before = stack.job(job)["Comment"]
    changed = stack.run(["scontrol", "update", f"JobId={job}", "Comment=brand new words"])
    assert changed.returncode == 0, changed.stderr
    assert stack.job(job)["Comment"] == before.replace("old", "brand new words")


def test_a_job_on_several_nodes_reports_from_each(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsrun sleep 1\n", "--tier=cap", "--mem=200M", "--nodes=3")
    stack.wait(job, "COMPLETED")
    found = reports(stack, job, count=3)
    assert len({report.node for report in found}) == 3
    assert len({report.key for report in found}) == 1


def test_others_do_not_see_the_job(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\ntrue\n", "--tier=cap", "--mem=200M")
    stack.wait(job, "COMPLETED")
    reports(stack, job)
    assert job_view(stack, job, user=BOB) is None
    assert job_view(stack, job, user="root") is not None


def test_srun_and_salloc_have_plans_without_gres(stack: Stack) -> None:
    for command in (["srun"], ["salloc", "-Q"]):
        done = stack.run([*command, "--tier=cap", "--mem=200M", "printenv", "SLURM_JOB_ID"])
        assert done.returncode == 0, done.stderr
        job = done.stdout.strip()
        if command == ["srun"]:
            (report,) = reports(stack, job)
            assert report.plan is not None
        assert "TresPerNode" not in stack.job(job)

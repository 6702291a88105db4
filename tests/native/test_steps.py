"""Steps, arrays, het jobs, requeue, suspend, --exclusive, --mem=0: plan and accounting stay right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asking import job_known, plan_of, reports

from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

MIB = 1 << 20
PLANS = [pytest.param(["--tier=cap"], id="planned"), pytest.param([], id="unplanned")]

# Each step waits for the other to have begun: they end well only if they overlap.
OVERLAP = """
meet() { touch "$1"; for n in $(seq 1200); do test -e "$2" && exit 0; sleep 0.05; done; exit 9; }
if test "$1" = step; then meet "$2" "$3"; fi
srun --exact -n1 -c1 --mem=100M sh "$0" step a b & first=$!
srun --exact -n1 -c1 --mem=100M sh "$0" step b a & second=$!
wait $first && wait $second
"""


@pytest.fixture
def folder(stack: Stack) -> str:
    """A fresh directory of alice's."""
    return stack.run(["mktemp", "-d", "-p", str(stack.layout.home(ALICE))]).stdout.strip()


@pytest.fixture
def overlap(stack: Stack, folder: str) -> str:
    """The script that runs two steps which must overlap."""
    path = f"{folder}/overlap.sh"
    stack.run(["tee", path], stdin=OVERLAP)
    return path


@pytest.mark.parametrize("tier", PLANS)
def test_steps_overlap_under_sbatch(stack: Stack, folder: str, overlap: str, tier: list[str]) -> None:
    job = stack.sbatch(f"#!/bin/sh\nsh {overlap}\n", "-n2", "--mem=300M", f"--chdir={folder}", *tier)
    assert stack.wait(job)["JobState"] == "COMPLETED", stack.run(["cat", f"{folder}/slurm-{job}.out"]).stdout
    (report,) = reports(stack, job)
    assert (report.plan is not None) == bool(tier)


@pytest.mark.parametrize("tier", PLANS)
def test_steps_overlap_under_salloc(stack: Stack, folder: str, overlap: str, tier: list[str]) -> None:
    done = stack.run(["env", "--chdir", folder, "salloc", "-Q", "-n2", "--mem=300M", *tier, "sh", overlap], timeout=180)
    assert done.returncode == 0, done.stderr


def test_a_job_with_gres_of_its_own_keeps_them(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsleep 60\n", "--tier=cap", "--mem=300M", "--gres=tier_dram:77")
    running = stack.wait(job, "RUNNING")
    assert running["TresPerNode"] == "gres:tier_dram:77"
    assert plan_of(stack, job, running["BatchHost"]).size == 300 * MIB


def test_each_array_task_has_its_plan(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsleep 1\n", "--array=1-3", "--tier=cap", "--mem=200M")
    stack.wait(job, "COMPLETED")
    ids = {task["JobId"] for task in stack.jobs(job)}
    assert len(ids) == 3
    for one in ids:
        (report,) = reports(stack, one)
        assert report.plan is not None
        assert report.plan.size == 200 * MIB


def test_each_het_component_has_its_plan(stack: Stack) -> None:
    job = stack.sbatch(
        "#!/bin/sh\nsrun --het-group=0,1 sleep 1\n",
        *("--tier=cap", "--mem=200M", ":", "--tier=lat", "--mem=300M"),
    )
    stack.wait(job, "COMPLETED")
    found = {one["JobId"]: one for one in stack.jobs(job)}
    assert len(found) == 2
    assert {one["TresPerNode"] for one in found.values()} == {"gres:tier_dram:200", "gres:tier_dram:300"}
    directives = {(reports(stack, one)[0].directive, reports(stack, one)[0].memory) for one in found}
    assert directives == {("cap", 200 * MIB), ("lat", 300 * MIB)}


def test_a_requeued_job_has_a_plan_for_each_start(stack: Stack, folder: str) -> None:
    script = '#!/bin/sh\ntouch begun\ntest "${SLURM_RESTART_COUNT:-0}" -gt 0 || sleep 60\n'
    job = stack.sbatch(script, "--tier=cap", "--mem=200M", "--requeue", f"--chdir={folder}")
    stack.wait(job, "RUNNING")
    wait_until(lambda: stack.run(["test", "-e", f"{folder}/begun"]).returncode == 0, "the job's script", 60)
    assert stack.run(["scontrol", "requeue", str(job)]).returncode == 0
    stack.wait(job, "COMPLETED")
    found = reports(stack, job, count=2)
    assert {report.key.restart for report in found} == {0, 1}
    assert len({report.key.token for report in found}) == 1
    assert all(report.plan is not None for report in found)


def test_suspend_and_resume(stack: Stack, folder: str) -> None:
    job = stack.sbatch(
        "#!/bin/sh\nuntil test -e go; do sleep 0.1; done\n", "--tier=cap", "--mem=200M", f"--chdir={folder}"
    )
    node = stack.wait(job, "RUNNING")["BatchHost"]
    plan = plan_of(stack, job, node)
    stack.run(["scontrol", "suspend", str(job)], user="root")
    stack.wait(job, "SUSPENDED")
    stack.run(["touch", f"{folder}/go"])
    assert plan_of(stack, job, node) == plan
    stack.run(["scontrol", "resume", str(job)], user="root")
    stack.wait(job, "COMPLETED")
    (report,) = reports(stack, job)
    assert report.plan == plan
    assert report.whole


def test_exclusive(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsrun true\n", "--exclusive", "--tier=cap", "--mem=200M")
    assert stack.wait(job, "COMPLETED")["TresPerNode"] == "gres:tier_dram:200"
    (report,) = reports(stack, job)
    assert report.plan is not None
    assert report.plan.size == 200 * MIB


def test_memory_per_cpu(stack: Stack) -> None:
    job = stack.sbatch("#!/bin/sh\nsrun true\n", "-n2", "--mem-per-cpu=150M", "--tier=cap")
    assert stack.wait(job, "COMPLETED")["TresPerNode"] == "gres:tier_dram:300"
    (report,) = reports(stack, job)
    assert report.memory == 300 * MIB


def test_a_steps_own_directive_fits_the_plan_or_is_said_not_to(stack: Stack, folder: str) -> None:
    script = "#!/bin/sh\nsrun --tier=lat:10M echo fits\nsrun --tier=bw echo runs\n"
    job = stack.sbatch(script, "--tier=lat:50M,cap", "--mem=200M", f"--chdir={folder}")
    stack.wait(job, "COMPLETED")
    output = stack.run(["cat", f"{folder}/slurm-{job}.out"]).stdout
    fits, _, rest = output.partition("fits\n")
    assert fits == ""
    assert "BW" in rest
    assert rest.endswith("runs\n")


@pytest.fixture(scope="module")
def without_alloc() -> Iterator[Stack]:
    """A site without PrologFlags=Alloc: the prolog runs with the first task, not at the allocation. And jobcomp/script
    tells of ended jobs there."""
    with Stack(StackOptions(nodes=1, prolog_flags="", jobcomp=True, hook_budget_ms=5000)) as running:
        yield running


def test_all_memory_of_a_node(without_alloc: Stack) -> None:
    """On a stack that has just begun: this machine's memory may be elastic, and what Slurm hands out is not."""
    stack = without_alloc
    job = stack.sbatch("#!/bin/sh\nsrun true\n", "--mem=0", "--tier=cap")
    assert stack.wait(job, "COMPLETED")["TresPerNode"] == f"gres:tier_dram:{stack.nodes[0].memory_mib}"
    (report,) = reports(stack, job)
    assert report.plan is not None
    assert report.memory >> 20 == stack.nodes[0].memory_mib
    assert report.plan.size == report.memory


@pytest.mark.parametrize("command", ["sbatch", "srun", "salloc"])
def test_without_prolog_flags_alloc(without_alloc: Stack, command: str) -> None:
    stack = without_alloc
    if command == "sbatch":
        job = stack.sbatch("#!/bin/sh\nsrun true\n", "--tier=cap", "--mem=200M")
        stack.wait(job, "COMPLETED")
    else:
        inner = ["srun"] if command == "salloc" else []
        done = stack.run([command, "-Q", "--tier=cap", "--mem=200M", *inner, "printenv", "SLURM_JOB_ID"])
        assert done.returncode == 0, done.stderr
        job = int(done.stdout)
    (report,) = reports(stack, job)
    assert report.plan is not None
    assert stack.drained() == {}


@pytest.mark.parametrize(("script", "state"), [("true", "COMPLETED"), ("exit 3", "FAILED")])
def test_jobcomp_tells_of_the_end(without_alloc: Stack, script: str, state: str) -> None:
    job = without_alloc.sbatch(f"#!/bin/sh\n{script}\n", "--mem=100M")
    assert without_alloc.wait(job)["JobState"] == state
    view = job_known(  # that it is COMPLETING it knows before
        without_alloc, job, lambda view: [run.state for run in view.attempts] == [state], "the service to know", 60
    )
    assert (view.attempts[0].memory, view.attempts[0].nodes) == (100 * MIB, without_alloc.nodes[0].name)

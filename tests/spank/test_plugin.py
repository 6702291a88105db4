"""The plugin inside a real Slurm, beside an agent that says whatever a test wants."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from listener import Answer, Asked, Listener, says

from tierwise.lines import encode
from tierwise_lab import accounts, image
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

MIB = 1 << 20
BATCH = str(0xFFFFFFFB)  # SLURM_BATCH_SCRIPT
POLICY = "head -n1 /proc/self/numa_maps"
SHOW = f"#!/bin/sh\n{POLICY}\n"
PREFERRED = says(status="ok", policy="preferred_many", nodes="0", numa_balancing=1)
INTERLEAVED = says(status="ok", policy="weighted_interleave", nodes="0", numa_balancing=0)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Slurm with our plugin and neither agents nor a service."""
    with Stack(StackOptions(nodes=2, agents=False, service=False)) as running:
        yield running


@pytest.fixture
def agent(stack: Stack) -> Iterator[Listener]:
    """An agent on every node; it wants PREFERRED_MANY unless a test says otherwise."""
    listener = Listener({node.name: stack.layout.agent_socket(node.name) for node in stack.nodes}, PREFERRED)
    yield listener
    listener.close()


def asked(agent: Listener, job: int | str, op: str, count: int) -> list[Asked]:
    """The requests about a job, once there are `count` of them on all nodes."""

    def arrived() -> list[Asked]:
        requests = [request for node in agent.asked.values() for request in node]
        found = [request for request in requests if request.op == op and request.fields["job_id"] == str(job)]
        return found if len(found) >= count else []

    found = wait_until(arrived, f"{count} times op={op} about job {job}", 60)
    assert len(found) == count
    return found


def completed(stack: Stack, script: str, *args: str) -> tuple[int, str]:
    """The id and the output of a batch job that must complete."""
    job = stack.sbatch(script, "--mem=100M", *args)
    assert stack.wait(job)["JobState"] == "COMPLETED", stack.output(job)
    return job, stack.output(job)


def policies(output: str) -> list[str]:
    """The policies in the lines of numa_maps that a job printed: `ADDRESS POLICY file=… mapped=…`."""
    return re.findall(r"^[0-9a-f]{8,} (.*?)(?: file=.*)?$", output, re.MULTILINE)


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("answer", "policy"),
    [(PREFERRED, "prefer (many)=static|balancing:0"), (INTERLEAVED, "weighted interleave=static:0")],
)
def test_the_policy_reaches_every_process(stack: Stack, agent: Listener, answer: Answer, policy: str) -> None:
    agent.answer = answer
    script = f"#!/bin/sh\n{POLICY}\n(sh -c '{POLICY}')\nsrun {POLICY}\nsrun -n2 -O sh -c '{POLICY}'\n"
    _, output = completed(stack, script, "--tier=lat")
    assert policies(output) == [policy] * 5


FURTHER = {
    "tier-stage": ("/data/ref.fa,/data/img.sif", "/data/ref.fa,/data/img.sif", "ref.fa"),
    "tier-stage-wait": ("30", "30", "1m"),
    "tier-scratch": ("1G", str(1 << 30), "10%"),
    "tier-net": ("500M", str(500 * MIB), "fast"),
    "tier-latency": ("50us", "50000", "50"),
    "tier-retry": ("2", "2", "10"),
    "tier-env": ("TF", "tf", "jax"),
}
"""The further options: what may be typed, what the job is handed for it, and what is refused."""


@pytest.mark.parametrize("command", ["sbatch", "srun", "salloc"])
@pytest.mark.parametrize("option", FURTHER)
def test_a_further_option_is_refused_in_one_line(stack: Stack, command: str, option: str) -> None:
    program = ["--wrap", "true"] if command == "sbatch" else ["true"]
    for bad in (FURTHER[option][2], "", "\x1b[2J" * 1000):
        done = stack.run([command, f"--{option}={bad}", *program])
        assert done.returncode != 0
        (line,) = [line for line in done.stderr.splitlines() if line.strip()]
        assert f"tierwise: --{option}=" in line
        assert line.isprintable()
        assert len(line) < 300


def test_further_options_reach_the_job_and_its_steps(stack: Stack) -> None:
    lines = "".join(f"#SBATCH --{option}={typed}\n" for option, (typed, _, _) in FURTHER.items())
    show = "env | grep ^SLURM_SPANK_TIER_ | sort"
    _, output = completed(stack, f"#!/bin/sh\n{lines}{show}\nsrun sh -c '{show}'\n")
    wanted = sorted(
        f"SLURM_SPANK_{option.upper().replace('-', '_')}={value}" for option, (_, value, _) in FURTHER.items()
    )
    assert [line for line in output.splitlines() if "TIER_" in line] == wanted * 2


@pytest.mark.parametrize("export", ["ALL", "NONE"])
def test_what_a_batch_job_and_its_step_ask(stack: Stack, agent: Listener, export: str) -> None:
    job, _ = completed(stack, "#!/bin/sh\nsrun /bin/true\n", "--tier=LAT:64M,cap", f"--export={export}")
    batch, step = asked(agent, job, "task", 2)
    uid = accounts.ids(ALICE)[0]
    assert batch.uid == step.uid == uid
    assert f"/job_{job}/step_batch" in batch.cgroups
    assert f"/job_{job}/step_0" in step.cgroups
    expected = {"op": "task", "job_id": str(job), "uid": str(uid), "tier": f"lat:{64 * MIB},cap"}
    expected |= {"mem": str(100 * MIB), "restart": "0", "policy_set": "0"}
    assert batch.fields == {**expected, "step": BATCH}
    assert step.fields == {**expected, "step": "0"}
    assert {(end.uid, end.fields["step"]) for end in asked(agent, job, "exit", 2)} == {(0, "0"), (0, BATCH)}


def test_a_directive_in_the_script(stack: Stack, agent: Listener) -> None:
    job, _ = completed(stack, "#!/bin/sh\n#SBATCH --tier=bw\ntrue\n")
    assert [request.fields["tier"] for request in asked(agent, job, "task", 1)] == ["bw"]


def test_without_a_directive(stack: Stack, agent: Listener) -> None:
    job, _ = completed(stack, SHOW)
    assert [request.fields["tier"] for request in asked(agent, job, "task", 1)] == [""]


def test_each_array_task_asks_for_itself(stack: Stack, agent: Listener) -> None:
    array = stack.sbatch("#!/bin/sh\ntrue\n", "--tier=cap", "--mem=100M", "--array=1-3")
    stack.wait(array, "COMPLETED")
    for job in {record["JobId"] for record in stack.jobs(array)}:
        (request,) = asked(agent, job, "task", 1)
        assert request.fields["tier"] == "cap"


def test_each_node_asks_its_own_agent(stack: Stack, agent: Listener) -> None:
    output = succeeds(stack.run(["srun", "--tier=cap", "--mem=100M", "-N2", "-n2", *POLICY.split()]))
    assert policies(output) == ["prefer (many)=static|balancing:0"] * 2
    for node, requests in agent.asked.items():
        (request,) = [request for request in requests if request.op == "task"]
        assert f"/slurm_{node}/" in request.cgroups


def test_a_step_inherits_or_has_its_own(stack: Stack, agent: Listener) -> None:
    steps = "srun true; srun --tier=bw true; srun --export=NONE /bin/true"
    succeeds(stack.run(["salloc", "--tier=shl", "--mem=100M", "sh", "-c", steps]))
    requests = [request for node in agent.asked.values() for request in node if request.op == "task"]
    assert [request.fields["tier"] for request in requests] == ["shl", "bw", "shl"]


def test_a_step_that_does_not_fit_runs_under_the_jobs_plan(stack: Stack, agent: Listener) -> None:
    refused = encode({"status": "refused", "reason": "the plan has\nno \x1b[31mdram"})
    agent.answer = lambda fields: refused if fields.get("tier") == "lat" else PREFERRED(fields)
    _, output = completed(stack, f"#!/bin/sh\nsrun -n2 -O --tier=lat {POLICY}\n", "--tier=cap")
    (line,) = [line for line in output.splitlines() if "tierwise" in line]
    assert line.endswith("--tier=lat: the plan has?no ?[31mdram; the step runs under the job's plan")
    assert policies(output) == ["prefer (many)=static|balancing:0"] * 2


@pytest.mark.parametrize("option", ["--mem-bind=local", "--mem-bind=map_mem:0"])
def test_slurms_own_binding_wins(stack: Stack, agent: Listener, option: str) -> None:
    output = succeeds(stack.run(["srun", "--tier=lat", "--mem=100M", option, *POLICY.split()]))
    assert policies(output) == ["bind:0"]
    requests = [request for node in agent.asked.values() for request in node if request.op == "task"]
    assert [request.fields["policy_set"] for request in requests] == ["1"]


def test_the_jobs_memory_cgroup_is_still_there_at_the_end(stack: Stack, agent: Listener) -> None:
    there: list[bool] = []
    memory = next(path for path in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if path.is_dir())

    def look(fields: dict[str, str]) -> bytes:
        if fields["op"] == "exit":
            there.append(any(memory.glob(f"**/job_{fields['job_id']}")))
        return PREFERRED(fields) or b""

    agent.answer = look
    job, _ = completed(stack, "#!/bin/sh\nsrun -n2 -O true\n")
    asked(agent, job, "exit", 2)
    assert there == [True, True]


FILES = ("--tier-stage=/data/ref.fa", "--tier-scratch=8M")


def test_a_task_is_shown_its_files(stack: Stack, agent: Listener) -> None:
    home = stack.layout.home(ALICE)  # which alice may enter
    files = encode({"status": "ok", "stage": str(home), "scratch": str(home), "notice": "ref.fa is\nlate"})
    agent.answer = lambda fields: files if fields["op"] == "stage_job" else PREFERRED(fields)
    show = "echo $TIERWISE_STAGE $TIERWISE_SCRATCH $TIERWISE_SOCKET"
    job, output = completed(stack, f"#!/bin/sh\n{show}\nsrun --export=NONE /bin/sh -c '{show}'\n", *FILES)
    shown = [line for line in output.splitlines() if line.startswith(str(home))]
    assert len(shown) == 2
    assert set(shown) <= {f"{home} {home} {stack.layout.agent_socket(node.name)}" for node in stack.nodes}
    assert sum("tierwise: job" in line and line.endswith("ref.fa is?late") for line in output.splitlines()) == 2
    batch, _ = asked(agent, job, "stage_job", 2)
    assert batch.fields == {
        "op": "stage_job", "job_id": str(job), "uid": str(accounts.ids(ALICE)[0]), "step": BATCH,
        "stage": "/data/ref.fa", "scratch": str(8 * MIB),
    }  # fmt: skip


def test_files_that_a_task_can_not_enter(stack: Stack, agent: Listener) -> None:
    files = encode({"status": "ok", "stage": "/root", "scratch": "/nowhere"})
    agent.answer = lambda fields: files if fields["op"] == "stage_job" else PREFERRED(fields)
    _, output = completed(stack, "#!/bin/sh\necho is=$TIERWISE_STAGE$TIERWISE_SCRATCH\n", *FILES)
    assert "is=\n" in output
    assert "TIERWISE_STAGE is not set: /root can't be entered from this job: Permission denied" in output
    assert "TIERWISE_SCRATCH is not set: /nowhere can't be entered from this job: No such file" in output


def test_nothing_is_asked_for_a_job_that_wants_no_files(stack: Stack, agent: Listener) -> None:
    job, _ = completed(stack, "#!/bin/sh\ntrue\n", "--tier-stage-wait=9")
    asked(agent, job, "exit", 1)
    assert not [each for node in agent.asked.values() for each in node if each.op == "stage_job"]


FAULTS: dict[str, Answer] = {
    "no plan": says(status="none", reason="no plan"),
    "an error": says(status="error", reason="broken"),
    "refused altogether": says(status="refused", reason="this is not your job"),
    "an unknown status": says(status="perhaps"),
    "no status": says(policy="preferred_many", nodes="0"),
    "an unknown policy": says(status="ok", policy="bind", nodes="0"),
    "no nodes": says(status="ok", policy="preferred_many", nodes=""),
    "nodes that no kernel has": says(status="ok", policy="preferred_many", nodes="0,99999999999999999999"),
    "nodes that are not here": says(status="ok", policy="weighted_interleave", nodes="1000,1001"),
    "the default policy": says(status="ok", policy="default"),
    "junk": lambda _: b"\x00\xff" * 1000 + b"\n\n",
    "no key": lambda _: b"preferred_many\n\n",
    "too many keys": lambda _: b"".join(b"k%d=\n" % number for number in range(65)) + b"\n",
    "too long": lambda _: b"status=" + b"a" * (1 << 20) + b"\n\n",
    "half an answer": lambda _: b"status=ok\n",
    "nothing": lambda _: b"",
    "silence": lambda _: None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_answer_leaves_the_task_alone(stack: Stack, agent: Listener, fault: str) -> None:
    agent.answer = FAULTS[fault]
    _, output = completed(stack, SHOW, "--tier=lat")
    assert policies(output) == ["default"]
    assert stack.drained() == {}


def test_without_an_agent_the_task_is_left_alone_and_the_log_says_so(stack: Stack) -> None:
    job, output = completed(stack, SHOW, "--tier=lat")
    assert policies(output) == ["default"]
    log = "".join(stack.log(f"slurmd-{node.name}") for node in stack.nodes)
    assert f"tierwise: task_init: job {job}: asked the agent at" in log
    assert "No such file or directory" in log


def test_off_accepts_anything_and_does_nothing() -> None:
    options = StackOptions(nodes=1, agents=False, service=False, plugstack_args="off nonsense")
    with Stack(options) as stack:
        (node,) = stack.nodes
        listener = Listener({node.name: stack.layout.agent_socket(node.name)}, PREFERRED)
        _, output = completed(stack, SHOW, "--tier=what,ever")
        assert policies(output) == ["default"]
        assert {request.op for request in listener.asked[node.name]} <= {"prolog", "epilog"}
        listener.close()
        assert "tierwise: init: plugstack.conf: 'nonsense' is ignored" in stack.log(f"slurmd-{node.name}")


def test_slurm_2605() -> None:
    options = StackOptions(nodes=1, agents=False, service=False, slurm_root=image.chroot_root("forky"))
    with Stack(options) as stack:
        (node,) = stack.nodes
        listener = Listener({node.name: stack.layout.agent_socket(node.name)}, INTERLEAVED)
        job, output = completed(stack, f"#!/bin/sh\n{POLICY}\nsrun -n2 -O {POLICY}\n", "--tier=bw")
        assert policies(output) == ["weighted interleave=static:0"] * 3
        assert [request.fields["tier"] for request in asked(listener, job, "task", 3)] == ["bw"] * 3
        asked(listener, job, "exit", 2)
        listener.close()

"""Whatever of ours is missing, late, broken or lying: no job is lost, rejected or held, no node drained."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from asking import PATIENCE_S, plan_of, reload_hook, reports, unchanged_lines
from broken_service import Answer, BrokenService, says, sends, silence

from tierwise.lines import encode
from tierwise.local import ask
from tierwise.messages import Health, JobSample, NodeSample
from tierwise_lab import native
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

MIB = 1 << 20
TOKEN = "0123456789abcdef"
TRUE = "#!/bin/sh\nsrun true\n"
WAIT_FOR_GO = "#!/bin/sh\nuntil test -e go; do sleep 0.05; done\n"
SUBMISSIONS = 200
PROBES_S = 30

LIES: dict[str, Answer] = {
    "junk": sends(bytes(range(256)) * 40 + b"\n\n"),
    "nothing": sends(b""),
    "no end": sends(b"status=ok " * 100_000),
    "half a message": sends(b"status=ok\nnonce="),
    "another protocol": sends(b"HTTP/1.1 500 Internal Server Error\r\n\r\n"),
    "another nonce": lambda question: encode({"status": "ok", "nonce": "f" * 32, "token": TOKEN}),
    "no nonce": sends(encode({"status": "ok", "token": TOKEN})),
    "unknown status": lambda question: encode({"status": "perhaps", "nonce": question.get("nonce", "")}),
    "no token": says(gres="tier_dram:300"),
    "a token that is none": says(token="'; drop table", gres="tier_dram:300"),
    "unknown GRES": says(token=TOKEN, gres="tier_floppy:300"),
    "a GRES that isn't ours": says(token=TOKEN, gres="gpu:1"),
    "negative GRES": says(token=TOKEN, gres="tier_dram:-300"),
    "more GRES than any node has": says(token=TOKEN, gres="tier_dram:99999999"),
    "a GRES of which nodes have none": says(token=TOKEN, gres="tier_cxl:300"),
    "unknown feature": says(token=TOKEN, prefer="flying"),
    "unknown node": says(token=TOKEN, exclude="nowhere"),
    "all nodes excluded": says(token=TOKEN, exclude="n[1-9999]"),
}


@pytest.fixture(scope="module")
def hooked() -> Iterator[Stack]:
    """Slurm 22.05 with the hook and the plugin; the service, if any, is a test's own."""
    with Stack(StackOptions(service=False, agents=False)) as running:
        yield running


@pytest.fixture(params=["22.05", "26.05"])
def release(request: pytest.FixtureRequest) -> Stack:
    """The hook on both: a Lua error lets a job in on the one and rejects it on the other."""
    name = "hooked" if request.param == "22.05" else "slurm2605"
    running: Stack = request.getfixturevalue(name)
    reload_hook(running)
    return running


@pytest.fixture
def folder(stack: Stack) -> str:
    """A fresh directory of alice's."""
    return stack.run(["mktemp", "-d", "-p", str(stack.layout.home(ALICE))]).stdout.strip()


def goes_in_unchanged(stack: Stack, *args: str) -> None:
    """Submit a job with a directive: it is what its user wrote, runs to its end, and nothing else happens."""
    job = stack.sbatch(TRUE, "--tier=cap", "--mem=300M", "--comment=mine", *args)
    found = stack.wait(job, "COMPLETED")
    assert found["Comment"] == "mine"
    assert found.get("TresPerNode", "") in ("", "(null)")
    assert found["ExcNodeList"] in ("", "(null)")
    assert found["Features"] in ("", "(null)")
    assert stack.drained() == {}


# --- the decision service lies or is late -------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_service(hooked: Stack, lie: str) -> None:
    reload_hook(hooked)
    before = unchanged_lines(hooked)
    with BrokenService(hooked.layout.hook_socket, LIES[lie]) as service:
        goes_in_unchanged(hooked)
    assert service.questions[0]["tier"] == "cap"
    assert unchanged_lines(hooked) == before + 1


def test_what_a_truthful_peer_says_is_written(release: Stack) -> None:
    """The same double, telling the truth: so the tests above fail for their lies, not for the double's sake."""
    job = believed(release, says(token=TOKEN, gres="tier_dram:300"), "--tier=cap", "--comment=mine")
    assert release.job(job)["Comment"] == f"mine tierwise={TOKEN}"
    assert release.job(job)["TresPerNode"] in ("gres:tier_dram:300", "gres/tier_dram:300")
    release.wait(job, "COMPLETED")


def believed(stack: Stack, answer: Answer, *args: str) -> int:
    """A job that went in as the double says. It has 200 ms for it, and may miss them on a busy machine: try again."""

    def submitted() -> int:
        reload_hook(stack)
        job = stack.sbatch(TRUE, "--mem=300M", *args)
        return job if TOKEN in stack.job(job)["Comment"] else 0

    with BrokenService(stack.layout.hook_socket, answer):
        return wait_until(submitted, "the hook to have its answer in time", 60)


def test_a_preference_takes_the_job_to_a_node_that_has_it(hooked: Stack) -> None:
    """And the lie about a feature is one: this one is in slurm.conf."""
    last, conf = hooked.nodes[-1].name, hooked.layout.slurm_conf
    with changed(conf, conf.read_text().replace(f"NodeName={last} ", f"NodeName={last} Features=fastmem ")):
        hooked.run(["scontrol", "reconfigure"], user="root")
        job = believed(hooked, says(token=TOKEN, prefer="fastmem"), "--tier=lat")
        assert hooked.wait(job, "COMPLETED")["NodeList"] == last
    hooked.run(["scontrol", "reconfigure"], user="root")
    reload_hook(hooked)


def test_it_is_logged_once_a_minute_and_counted(hooked: Stack) -> None:
    reload_hook(hooked)
    before = unchanged_lines(hooked)
    for _ in range(20):
        hooked.sbatch(TRUE, "--tier=cap", "--begin=now+1hour")
    assert unchanged_lines(hooked) == before + 1
    hooked.run(["scancel", "-u", ALICE], user="root")


def test_a_sleeping_service_is_left_alone(hooked: Stack) -> None:
    """Three submissions wait for it, then one in 30 s: the others, in series as by one user's script, cost nothing."""
    reload_hook(hooked)
    loop = f"for n in $(seq {SUBMISSIONS}); do sbatch -Q --tier=cap --begin=now+1hour --wrap true || exit; done"
    started = time.monotonic()
    with BrokenService(hooked.layout.hook_socket, silence) as service:
        done = hooked.run(["sh", "-c", loop], timeout=300)
    assert done.returncode == 0, done.stderr
    assert 3 <= len(service.questions) <= 3 + (time.monotonic() - started) / PROBES_S
    waiting = hooked.run(["squeue", "-h", "-u", ALICE, "-o", "%r"], user="root").stdout.split()
    assert waiting == ["BeginTime"] * SUBMISSIONS


# --- the Lua module itself ----------------------------------------------------------------------------------------


@contextmanager
def changed(path: Path, text: str | None) -> Iterator[None]:
    """The file holds `text`, or is away, during the block."""
    before = path.read_text()
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


@pytest.mark.parametrize("module", ["tierwise.lua", "tierwise_hook/service.lua"])
def test_a_missing_module_when_slurmctld_starts(release: Stack, module: str) -> None:
    path = release.layout.lua / module
    text = path.read_text()
    path.unlink()
    try:
        release.stop("slurmctld")
        release.start("slurmctld")
        goes_in_unchanged(release)
        assert "tierwise: not loaded" in release.log("slurmctld")
    finally:
        path.write_text(text)
        release.stop("slurmctld")
        release.start("slurmctld")


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("service", "return { ask = function() error('boom') end }"),
        ("service", "return { ask = function() return nil .. nil end }"),
        ("service", "return { ask = function() error({}) end }"),
        ("service", "return { ask = function() return 'no table' end }"),
        ("request", "return { describe = function() error('boom') end }"),
        ("answer", "return {}"),
    ],
)
def test_a_run_time_error(release: Stack, module: str, text: str) -> None:
    before = unchanged_lines(release)
    with changed(release.layout.lua / "tierwise_hook" / f"{module}.lua", text):
        reload_hook(release)
        goes_in_unchanged(release)
    assert unchanged_lines(release) == before + 1


def test_a_run_time_error_while_a_job_is_changed(release: Stack) -> None:
    job = release.sbatch(TRUE, "--begin=now+1hour")
    with changed(release.layout.lua / "tierwise_hook" / "comment.lua", "return { strip = function(x) return x end }"):
        reload_hook(release)
        update = release.run(["scontrol", "update", f"JobId={job}", "Comment=new"])
    assert update.returncode == 0, update.stderr
    assert release.job(job)["Comment"] == "new"


def test_without_lua_socket(release: Stack) -> None:
    script = release.layout.job_submit
    hidden = 'package.preload["socket.unix"] = function() error("not installed") end\n'
    with changed(script, hidden + script.read_text()):
        reload_hook(release)
        goes_in_unchanged(release)


# --- the daemons --------------------------------------------------------------------------------------------------


def test_the_service_is_stopped(stack: Stack) -> None:
    reload_hook(stack)
    stack.stop("decision")
    try:
        job = stack.sbatch(TRUE, "--tier=cap", "--mem=300M", "--comment=mine")
        found = stack.wait(job, "COMPLETED")
        assert found["Comment"] == "mine"
    finally:
        stack.start("decision")
        reload_hook(stack)
    (report,) = reports(stack, job)  # the agent planned alone, and kept its report for the service
    assert report.plan is not None
    assert report.whole


def test_the_agent_is_stopped(stack: Stack) -> None:
    node = stack.nodes[0].name
    stack.stop(f"agent-{node}")
    try:
        job = stack.sbatch(TRUE, "--tier=cap", "--mem=300M", f"--nodelist={node}")
        stack.wait(job, "COMPLETED")
        assert stack.drained() == {}
    finally:
        stack.start(f"agent-{node}")


def test_the_agent_hangs(stack: Stack) -> None:
    """The prolog and the tasks wait for an answer that never comes, but not long."""
    node = stack.nodes[0].name
    pid = stack.daemons[f"agent-{node}"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        job = stack.sbatch(TRUE, "--tier=cap", "--mem=300M", f"--nodelist={node}")
        stack.wait(job, "COMPLETED")
        assert stack.drained() == {}
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not jobs_of(stack, node), "the agent to see that the job has ended", 60)


def test_the_agent_is_killed_under_a_job(stack: Stack, folder: str) -> None:
    job = stack.sbatch(WAIT_FOR_GO, "--tier=cap", "--mem=300M", f"--chdir={folder}")
    node = stack.wait(job, "RUNNING")["BatchHost"]
    plan = plan_of(stack, job, node)
    stack.kill9(f"agent-{node}")
    assert stack.job(job)["JobState"] == "RUNNING"
    stack.start(f"agent-{node}")
    assert plan_of(stack, job, node) == plan
    stack.run(["touch", f"{folder}/go"])
    stack.wait(job, "COMPLETED")
    (report,) = reports(stack, job)
    assert report.whole
    assert report.plan == plan
    assert report.end == "epilog"


def test_a_job_ends_while_its_agent_is_dead(stack: Stack, folder: str) -> None:
    job = stack.sbatch(WAIT_FOR_GO, "--tier=cap", "--mem=300M", f"--chdir={folder}")
    node = stack.wait(job, "RUNNING")["BatchHost"]
    plan = plan_of(stack, job, node)
    stack.kill9(f"agent-{node}")
    try:
        stack.run(["touch", f"{folder}/go"])
        stack.wait(job, "COMPLETED")
        wait_until(lambda: stack.node_states()[node] == "idle", "the node to be idle", 60)
    finally:
        stack.start(f"agent-{node}")
    (report,) = reports(stack, job)
    assert report.plan == plan
    assert report.end == "epilog"  # by the mark that the epilog has left


def test_the_database_is_read_only(stack: Stack) -> None:
    reload_hook(stack)
    folder = stack.layout.service
    stack.stop("decision")
    files = [folder, *folder.glob("tierwise.db*")]
    modes = [path.stat().st_mode for path in files]
    for path in files:
        path.chmod(0o555 if path == folder else 0o444)
    try:
        stack.start("decision")
        job = stack.sbatch(TRUE, "--tier=cap", "--mem=300M")
        stack.wait(job, "COMPLETED")
        health = wait_until(lambda: unhealthy(stack), "/healthz to complain", 60)
        assert "database" in " ".join(health.problems)
        stack.stop("decision")
    finally:
        for path, mode in zip(files, modes, strict=True):
            path.chmod(mode)
        stack.start("decision")
        reload_hook(stack)
    (report,) = reports(stack, job)  # it waited on disk
    assert report.plan is not None


def jobs_of(stack: Stack, node: str) -> tuple[JobSample, ...]:
    """The jobs that an agent takes for running."""
    answer = ask(str(stack.layout.agent_socket(node)), {"op": "status"}, PATIENCE_S)
    return msgspec.json.decode(answer["json"], type=NodeSample).jobs


def unhealthy(stack: Stack) -> Health | None:
    """What /healthz says, if it has something to complain about."""
    answer = httpx.get(f"{stack.service_url}/healthz")
    health = msgspec.json.decode(answer.content, type=Health)
    return None if health.ok else health


# --- other ways to install it -------------------------------------------------------------------------------------


def test_the_plugin_is_missing_on_the_compute_node() -> None:
    with Stack(StackOptions(nodes=1, plugin_missing=True)) as stack:
        job = stack.sbatch(TRUE, "--tier=cap", "--mem=300M")
        assert stack.wait(job)["JobState"] == "COMPLETED"
        assert stack.drained() == {}


def test_switched_off_in_one_word() -> None:
    with Stack(StackOptions(nodes=1, plugstack_args="off")) as stack:
        job = stack.sbatch("#!/bin/sh\n#SBATCH --tier=lat\nsrun --tier=cap true\n", "--mem=300M")
        found = stack.wait(job)
        assert found["JobState"] == "COMPLETED"
        assert "tierwise=" not in found.get("Comment", "")
        assert stack.drained() == {}


def test_a_tier_that_is_full_or_too_small() -> None:
    """The tier holds less than Slurm hands out: plans are degraded and say so, jobs run to their end."""
    small = 480 / native.tiers_mib()["dram"]
    with Stack(StackOptions(nodes=1, settings={"agent": {"capacity_share": small}})) as stack:
        first = stack.sbatch("#!/bin/sh\nsleep 60\n", "--tier=lat", "--mem=400M")
        node = stack.wait(first, "RUNNING")["BatchHost"]
        plan_of(stack, first, node)
        job = stack.sbatch(TRUE, "--tier=cap", "--mem=2000M")
        assert stack.wait(job)["JobState"] == "COMPLETED"
        (report,) = reports(stack, job)
        assert report.plan is not None
        assert report.plan.degraded
        assert report.plan.unplaced > 0
        assert report.plan.size == 2000 * MIB
        assert stack.drained() == {}

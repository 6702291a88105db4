"""Jobs of a real Slurm on a node with three memory tiers: their pages land where the plan says.

What is found is read from numa_maps by the lab itself. The agent's part below Slurm is in test_agent_moves.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tierwise.client import DecisionClient
from tierwise.errors import RefusedError
from tierwise.messages import JobReport, JobSample
from tierwise.tiers import Tier
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.numa_maps import anonymous_bytes
from tierwise_lab.options import REPOSITORY
from tierwise_lab.stack import Stack
from tierwise_policy.placement import agrees

MIB = 1 << 20
HELD = 100
PATIENCE_S = 300
Found = dict[str, int]


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[DecisionClient]:
    with DecisionClient(str(stack.layout.decision_socket), timeout=PATIENCE_S) as asking:
        yield asking


@pytest.fixture(scope="module")
def tiers(client: DecisionClient) -> tuple[Tier, ...]:
    return client.nodes()[0].sample.tiers


@pytest.fixture
def submit(stack: Stack) -> Iterator[Callable[..., int]]:
    """Submits a batch script with `python` and `hold` in it; ends its jobs afterwards."""
    jobs: list[int] = []
    program = stack.layout.home(ALICE) / "hold.py"
    program.write_text((REPOSITORY / "lab" / "tierwise_lab" / "hold.py").read_text())
    hold = f"/usr/bin/python3 -I {program} {HELD} keep"

    def submitting(body: str, *args: str) -> int:
        script = f"#!/bin/sh\n{body.format(hold=hold)}\n"
        jobs.append(stack.sbatch(script, "--mem=200M", "--cpus-per-task=1", *args))
        return jobs[-1]

    yield submitting
    for job in jobs:
        stack.run(["scancel", str(job)], user="root")
    for job in jobs:
        stack.wait(job, timeout=PATIENCE_S)


def pages(tiers: tuple[Tier, ...], job: int) -> Found:
    """Bytes per tier in the anonymous areas of the job's processes."""
    per_node = anonymous_bytes(job_marker=f"SLURM_JOB_ID={job}")
    return {tier.name: sum(per_node.get(node, 0) for node in tier.numa_nodes) for tier in tiers}


def sample(client: DecisionClient, job: int) -> JobSample | None:
    try:
        return next(iter(client.job(job).samples.values()), None)
    except RefusedError:
        return None


def settled(client: DecisionClient, tiers: tuple[Tier, ...], job: int, mib: int = HELD) -> Found:
    """What is found once the job holds `mib` MiB and agrees with its plan."""
    order = [tier.name for tier in tiers]

    def agreeing() -> Found | None:
        found, known = pages(tiers, job), sample(client, job)
        held = sum(found.values()) >= mib * MIB
        return found if held and known and known.plan and agrees(known.plan, found, order) else None

    return wait_until(agreeing, f"job {job} to hold {mib} MiB where its plan says", PATIENCE_S)


@pytest.mark.parametrize(
    ("directive", "least"),
    [
        ("lat", {"dram": 0.95}),
        ("cap", {"cxl": 0.95}),
        ("bw", {"dram": 0.55, "pmem": 0.25, "cxl": 0.04}),
        ("lat:40M,cap", {"dram": 0.36, "cxl": 0.55}),
    ],
)
def test_each_class_is_where_it_should_be(submit, client, tiers, directive, least):
    found = settled(client, tiers, submit("exec {hold}", f"--tier={directive}"))
    shares = {tier: size / sum(found.values()) for tier, size in found.items()}
    assert all(shares[tier] >= share for tier, share in least.items()), shares


@pytest.mark.parametrize(
    ("body", "args"),
    [
        pytest.param("exec srun {hold}", (), id="step"),
        pytest.param("exec {hold}", ("--export=NONE",), id="export-none"),
        pytest.param("{hold} & wait", (), id="forked-child"),
        pytest.param("exec {hold}", ("--array=1",), id="array-task"),
        pytest.param("exec srun --tier=cap:150M {hold}", (), id="step-with-its-own"),
    ],
)
def test_every_way_to_start_a_program_inherits_the_policy(submit, client, tiers, body, args):
    found = settled(client, tiers, submit(body, "--tier=cap", *args))
    assert found["cxl"] >= 0.95 * sum(found.values()), found


def test_a_container_inherits_the_policy(submit, client, tiers, stack, tmp_path_factory):
    root = Path("/var/lib/tierwise-lab/container")
    for folder in ("usr", "proc", "sys", "dev", "tmp", "etc", "var"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for link in ("bin", "lib", "lib64", "sbin"):
        if not (root / link).is_symlink():
            (root / link).symlink_to(f"usr/{link}")
    body = f"exec apptainer exec --bind /usr,/var/lib/tierwise-lab {root} {{hold}}"
    found = settled(client, tiers, submit(body, "--tier=cap"))
    assert found["cxl"] >= 0.95 * sum(found.values()), found


def test_a_job_without_a_directive_is_left_to_the_kernel(submit, client, tiers):
    job = submit("exec {hold}")
    known = wait_until(lambda: sample(client, job), f"job {job} to be seen", PATIENCE_S)
    assert known.plan is None
    assert "no history yet" in known.reason


def test_a_killed_agent_takes_its_job_over_and_the_report_is_whole(submit, client, tiers, stack):
    job = submit("exec {hold}", "--tier=lat:40M,cap")
    settled(client, tiers, job)
    agent = next(name for name in stack.daemons if name.startswith("agent-"))
    stack.kill9(agent)
    stack.start(agent)
    assert stack.job(job)["JobState"] == "RUNNING"
    settled(client, tiers, job)
    stack.run(["scancel", str(job)], user="root")

    def reported() -> JobReport | None:
        return next(iter(client.job(job).reports), None)

    report = wait_until(reported, f"the report of job {job}", PATIENCE_S)
    assert report.whole
    assert report.gaps > 0
    assert report.moves.asked == report.moves.landed + report.moves.refused + report.moves.bounced
    assert report.tiers["cxl"].peak >= 50 * MIB
    assert not stack.drained()

"""tierctl on a real Slurm: doctor's rows for it, and a job that the agent tells of where the service is silent."""

from __future__ import annotations

import msgspec
import pytest

from tierwise.messages import JobView, Mechanism
from tierwise_cli.mechanisms import slurmconf
from tierwise_lab.daemons import wait_until
from tierwise_lab.stack import Stack

HOLD = """#!/bin/sh
python3 -c '
held = bytearray(64 << 20)
for page in range(0, len(held), 4096):
    held[page] = 1
import time
time.sleep(300)
'
"""


def test_doctor_finds_every_mechanism_of_slurm_in_use(stack: Stack) -> None:
    said = stack.run(["tierctl", "doctor", "--json"], user="root")
    groups = msgspec.json.decode(said.stdout, type=dict[str, list[Mechanism]])
    assert {row.name: row.state for row in groups["Slurm"] if row.state != "used"} == {}, said.stdout
    assert {row.name: row.state for row in groups["tierctl on this host"] if row.state != "used"} == {}
    assert sum(title.startswith("Node ") for title in groups) == len(stack.nodes)


def test_the_agent_tells_of_a_job_where_the_service_is_silent(stack: Stack) -> None:
    job = stack.sbatch(HOLD, "--tier=cap", "--mem=100M")
    stack.wait(job, "RUNNING")
    wait_until(lambda: stack.run(["tierctl", "job", str(job)], user="root").returncode in (0, 1), "a sample", 60)
    stack.stop("decision")
    try:
        said = stack.run(["tierctl", "job", str(job), "--json"])
        assert said.returncode in (0, 1), said.stderr
        assert "this is what the agents of this host say" in said.stderr
        view = msgspec.json.decode(said.stdout, type=JobView)
        assert (view.job_id, view.state) == (job, "running")
        assert [sample.plan.size for sample in view.samples.values() if sample.plan] == [100 << 20]
        assert stack.run(["tierctl", "job", str(job)], user="tierwise-bob").returncode == 4, "another user's"
    finally:
        stack.start("decision")


@pytest.mark.parametrize(
    "key", ["JobSubmitPlugins", "PlugStackConfig", "SLURM_VERSION", "SlurmctldHost", "PrologFlags"]
)
def test_what_slurm_2605_prints_is_understood(slurm2605: Stack, key: str) -> None:
    printed = slurm2605.run(["scontrol", "show", "config"], user="root").stdout
    assert slurmconf.first(slurmconf.parse(printed), key), printed

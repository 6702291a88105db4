"""Staging while a job is pending, by a real burst_buffer/lua: on the node that it named, before it has it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from test_staging import copies

from tierwise_lab import accounts
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack


@pytest.fixture(scope="module")
def buffered() -> Iterator[Stack]:
    """A Slurm of one node, with burst_buffer.lua."""
    with Stack(StackOptions(nodes=1, burst_buffer=True, hook_budget_ms=5000)) as running:
        yield running


def test_what_a_pending_job_names_is_staged_before_its_node_is_free(buffered: Stack) -> None:
    node = buffered.nodes[0].name
    source = buffered.layout.home(ALICE) / "input"
    source.write_text(f"content {os.urandom(8).hex()}\n")
    source.chmod(0o600)
    os.chown(source, *accounts.ids(ALICE))
    first = buffered.sbatch("#!/bin/sh\nsleep 600\n", f"--nodelist={node}", "--exclusive")
    wait_until(lambda: buffered.job(first)["JobState"] == "RUNNING", "the node to be taken", 240)
    job = buffered.sbatch("#!/bin/sh\ncat $TIERWISE_STAGE/input\n", f"--nodelist={node}", f"--tier-stage={source}")
    wait_until(lambda: any(row["path"] for row in copies(buffered, node)), "the copy to be there", 240)
    (copy,) = copies(buffered, node)
    assert (copy["source"], copy["held"], copy["public"]) == (str(source), 0, False)
    assert buffered.job(job)["JobState"] == "PENDING"
    buffered.run(["scancel", str(first)])
    assert buffered.wait(job, timeout=240)["JobState"] == "COMPLETED", buffered.output(job)
    assert source.read_text() in buffered.output(job)
    (same,) = copies(buffered, node)
    assert (same["path"], same["hits"]) == (copy["path"], 1)


def test_without_the_service_nothing_waits(buffered: Stack) -> None:
    buffered.stop("decision")
    line = f"#BB_LUA tierwise stage=/etc/hostname nodes={buffered.nodes[0].name}"
    job = buffered.sbatch(f"#!/bin/sh\n{line}\necho ran\n", "--tier-stage=/etc/hostname")
    assert buffered.wait(job, timeout=240)["JobState"] == "COMPLETED", buffered.output(job)
    assert "ran\n" in buffered.output(job)
    wait_until(lambda: "is not staged ahead" in buffered.log("slurmctld"), "Slurm's log to say why", 60)

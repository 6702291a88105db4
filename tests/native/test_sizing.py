"""History sizes the next job of its kind, on a real Slurm: jobs that say --tier=auto, and only they."""

from __future__ import annotations

import re

from asking import job_known

from tierwise_lab.daemons import wait_until
from tierwise_lab.stack import Stack

MIB = 1 << 20
TOUCH = """import sys, time
held = bytearray(120 << 20)
for page in range(0, len(held), 4096):
    held[page] = 1
time.sleep(3)
"""
"""Long enough to be seen by the node's agent, which looks each second."""


def script(kind: str) -> str:
    return f"#!/bin/sh\n# {kind}\nexec python3 -c '{TOUCH}'\n"


def known(stack: Stack, job: int | str) -> None:
    """Wait until the service has learned from a job: it shows the run, with what it used."""
    what = f"the service to know what job {job} used"
    job_known(stack, job, lambda view: bool(view.attempts and view.attempts[-1].peak), what, 60)


def memory(stack: Stack, job: int | str) -> int:
    """MiB per node that a job asks for."""
    return int(re.fullmatch(r"(\d+)M", stack.job(job)["MinMemoryNode"])[1])  # type: ignore[index]


def test_a_job_that_says_auto_gets_what_its_kind_needs(stack: Stack) -> None:
    first = stack.sbatch(script("sized"), "--mem=1000M", "--tier=auto", "--time=60")
    assert stack.wait(first)["JobState"] == "COMPLETED"
    known(stack, first)

    def sized() -> int:
        job = stack.sbatch(script("sized"), "--mem=1000M", "--tier=auto", "--time=60", "--hold")
        asked = memory(stack, job)
        stack.run(["scancel", str(job)])
        return asked if asked < 1000 else 0

    asked = wait_until(sized, "an estimate", 60)
    assert 120 < asked < 300
    second = stack.sbatch(script("sized"), "--mem=1000M", "--tier=auto", "--time=60")
    assert memory(stack, second) < 300
    assert stack.job(second)["TimeLimit"] != "01:00:00"
    assert stack.wait(second)["JobState"] == "COMPLETED"
    unasked = stack.sbatch(script("sized"), "--mem=1000M", "--time=60")
    assert memory(stack, unasked) == 1000
    assert stack.job(unasked)["TimeLimit"] == "01:00:00"


def test_what_ran_out_of_memory_asks_for_enough_at_once(stack: Stack) -> None:
    first = stack.sbatch(script("mended"), "--mem=80M", "--tier=auto", "--tier-retry=2")
    wait_until(lambda: stack.job(first)["JobState"] == "COMPLETED", f"job {first} to end well", 90)
    known(stack, first)
    again = stack.sbatch(script("mended"), "--mem=80M", "--tier=auto", "--tier-retry=2")
    assert memory(stack, again) > 120
    assert stack.wait(again)["JobState"] == "COMPLETED"
    assert stack.job(again)["Restarts"] == "0"

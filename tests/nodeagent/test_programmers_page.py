"""The examples of docs/programmers.md, in a job with a real agent."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from handmade import NOBODY, AgentProcess, JobCgroups
from memory_jobs import Job

from tierwise.units import MIB

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/programmers.md").read_text()
EXAMPLES = {"c": "example.c", "cpp": "example.cc", "fortran": "example.f90"}
BUILT = {"c": "example-c", "cpp": "example-cxx", "fortran": "example-fortran"}
SAYS = {"c": "grid: 8388608 bytes on dram\n", "cpp": "sum 500000500000\n", "fortran": "sum  2000000.0\n"}
DROP = "import os, select, tierwise.memory, numpy; os.setgid({0}); os.setuid({0}); "


def blocks(language: str) -> list[str]:
    """The page's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def job(agent: AgentProcess, cgroups: JobCgroups) -> Job:
    """A job with 512 MiB."""
    return Job(agent, cgroups, 4711, limit=512 * MIB).begin()


def output(job: Job, argv: list[str], become: bool) -> str:
    """What a program of the job prints."""
    environment = ["/usr/bin/env", f"TIERWISE_SOCKET={job.agent.socket}"]
    process = job.cgroups.start(job.id, [*environment, *argv], become=become)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("language", EXAMPLES)
def test_an_example_is_the_file_and_runs(job: Job, language: str) -> None:
    assert blocks(language) == [(REPOSITORY / "csrc/libtierwise/examples" / EXAMPLES[language]).read_text()]
    subprocess.run(["make", "-s", "-C", REPOSITORY / "csrc/libtierwise", "examples"], check=True)
    for name in (BUILT[language], "libtierwise.so.1"):  # the checkout may be root's alone
        shutil.copy(REPOSITORY / "build/libtierwise" / name, job.agent.folder)
    assert output(job, [str(job.agent.folder / BUILT[language])], become=True) == SAYS[language]


def test_the_python_examples_run(job: Job) -> None:
    said = [
        output(job, [sys.executable, "-c", DROP.format(NOBODY) + "\n" + block], False) for block in blocks("python")
    ]
    assert len(said) == 3
    assert said[0].splitlines() == ["{'dram': 8003584} TAKEN", "b'begin' TAKEN ", "TAKEN"]
    assert said[1] == f"b'ACGT' {16 * MIB} TAKEN\n"
    assert said[2] == ""

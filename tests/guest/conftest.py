"""What the guest's tests share: a Slurm, and with the tests of the agent's room hand-made jobs and a real agent."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierwise_lab import native
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

sys.path.append(str(Path(__file__).parents[1] / "nodeagent"))
from handmade import NOBODY, AgentProcess, JobCgroups, hand_made, running_agent


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One Slurm with Tierwise for the modules whose names begin with test_slurm: it takes long to start. They come
    last, so that its agent is not beside those that other modules start."""
    node = dataclasses.replace(native.this_host(), cpus=8)
    with Stack(StackOptions(cluster=(node,), extra_slurm_conf=("SlurmdParameters=config_overrides",))) as running:
        yield running


@pytest.fixture(scope="module")
def cgroups(request: pytest.FixtureRequest) -> Iterator[JobCgroups]:
    """Cgroups of the jobs of a module, on its NODE."""
    yield from hand_made(request.module.NODE)


@pytest.fixture(scope="module")
def agent(request: pytest.FixtureRequest) -> Iterator[AgentProcess]:
    """One agent for a module, of its NODE: starting it takes seconds here."""
    with running_agent(request.module.NODE, {"sample_interval": 0.5}) as running:
        yield running


@pytest.fixture
def job_id(request: pytest.FixtureRequest, agent: AgentProcess, cgroups: JobCgroups) -> Iterator[int]:
    """A job of its own for each test, the next of its module's `job_ids`, with its cgroups."""
    number = next(request.module.job_ids)
    cgroups.make(number)
    yield number
    cgroups.remove(number)
    agent.ask(op="epilog", job_id=number, uid=NOBODY)

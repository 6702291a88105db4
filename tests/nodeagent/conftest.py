"""A real agent and jobs without Slurm; both need root."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from handmade import AgentProcess, JobCgroups, hand_made, running_agent


@pytest.fixture
def node() -> str:
    """A NodeName that nobody else on this host has."""
    return f"test{os.getpid()}"


@pytest.fixture
def cgroups(node: str) -> Iterator[JobCgroups]:
    """Cgroups for hand-made jobs of that node."""
    yield from hand_made(node)


@pytest.fixture
def agent(node: str) -> Iterator[AgentProcess]:
    """A running agent without a decision service."""
    with running_agent(node, {}) as running:
        yield running

"""A real agent and jobs without Slurm; both need root."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import AgentProcess, JobCgroups, hand_made


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
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:  # short: a socket's path has 107 bytes
        Path(folder).chmod(0o755)
        running = AgentProcess(Path(folder), node, {})
        running.start()
        try:
            yield running
        finally:
            running.close()

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


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One Slurm with Tierwise for the modules whose names begin with test_slurm: it takes long to start. They come
    last, so that its agent is not beside those that other modules start."""
    node = dataclasses.replace(native.this_host(), cpus=8)
    with Stack(StackOptions(cluster=(node,), extra_slurm_conf=("SlurmdParameters=config_overrides",))) as running:
        yield running

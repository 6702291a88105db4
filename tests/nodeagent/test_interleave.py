"""The host's interleave weights have one owner, and come back as they were, also after a kill."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tierwise_node.interleave import InterleaveWeights


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A folder like the kernel's."""
    folder = tmp_path / "weighted_interleave"
    folder.mkdir()
    for node in range(3):
        (folder / f"node{node}").write_text("1\n")
    return folder


def read(sysfs: Path) -> list[int]:
    return [int((sysfs / f"node{node}").read_text()) for node in range(3)]


def test_set_and_given_back(sysfs: Path, tmp_path: Path) -> None:
    weights = InterleaveWeights(sysfs, tmp_path / "lock")
    weights.take({0: 20, 1: 10, 2: 3})
    assert weights.owned
    assert read(sysfs) == [20, 10, 3]
    weights.restore()
    assert read(sysfs) == [1, 1, 1]
    assert not weights.owned


def test_the_second_agent_of_a_host_waits_its_turn(sysfs: Path, tmp_path: Path) -> None:
    first, second = (InterleaveWeights(sysfs, tmp_path / "lock") for _ in range(2))
    first.take({0: 20, 1: 10, 2: 3})
    second.take({0: 5, 1: 5, 2: 5})
    assert not second.owned
    assert "another agent" in second.state
    assert read(sysfs) == [20, 10, 3]
    first.restore()
    second.take({0: 5, 1: 5, 2: 5})
    assert read(sysfs) == [5, 5, 5]
    second.restore()
    assert read(sysfs) == [1, 1, 1]


def test_a_killed_owner_leaves_what_the_kernel_had(sysfs: Path, tmp_path: Path) -> None:
    killed = InterleaveWeights(sysfs, tmp_path / "lock")
    killed.take({0: 20, 1: 10, 2: 3})
    left = (tmp_path / "lock").read_bytes()
    killed.restore()
    # as after kill -9: the lock is free, the file and the weights are as they were
    (tmp_path / "lock").write_bytes(left)
    for node, weight in enumerate((20, 10, 3)):
        (sysfs / f"node{node}").write_text(str(weight))
    after = InterleaveWeights(sysfs, tmp_path / "lock")
    after.take({0: 7, 1: 7, 2: 7})
    after.restore()
    assert read(sysfs) == [1, 1, 1]


def test_a_lock_file_that_a_user_made_is_not_believed(sysfs: Path, tmp_path: Path) -> None:
    lock, elsewhere = tmp_path / "lock", tmp_path / "elsewhere"
    lock.write_text(f'{{"{elsewhere}": "1", "../outside": "1", "node0": "9"}}')
    ours = InterleaveWeights(sysfs, lock)
    ours.take({0: 20})
    ours.restore()  # a name that is no weight's is not written to, whoever wrote the file
    assert read(sysfs) == [9, 1, 1]
    assert not elsewhere.exists()
    assert not (tmp_path / "outside").exists()
    os.chown(lock, 65534, -1)
    ours.take({0: 20})
    assert not ours.owned
    assert "remove it" in ours.state


def test_a_kernel_without_them(tmp_path: Path) -> None:
    weights = InterleaveWeights(tmp_path / "nowhere", tmp_path / "lock")
    weights.take({0: 1})
    assert not weights.owned
    assert "no weighted interleave" in weights.state
    weights.restore()

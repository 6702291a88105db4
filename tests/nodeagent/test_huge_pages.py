"""How page faults look for huge pages has one owner, and comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierwise_node.huge_pages import HugePages

BY_DEFAULT = "always defer defer+madvise [madvise] never\n"
DEFERRED = "always [defer] defer+madvise madvise never\n"


def folder(tmp_path: Path, defrag: str) -> Path:
    """Like the kernel's: what is written is kept bare, where the kernel would put brackets around it."""
    (tmp_path / "defrag").write_text(defrag)
    return tmp_path


def test_set_and_given_back(tmp_path: Path) -> None:
    sysfs = folder(tmp_path, BY_DEFAULT)
    ours = HugePages(sysfs, tmp_path / "lock")
    ours.take()
    assert ours.owned
    assert (sysfs / "defrag").read_text() == "defer"
    (sysfs / "defrag").write_text(DEFERRED)
    ours.restore()
    assert (sysfs / "defrag").read_text() == "madvise"
    assert not ours.owned


def test_a_second_agent_waits_its_turn_and_a_killed_one_leaves_what_was_before(tmp_path: Path) -> None:
    sysfs = folder(tmp_path, BY_DEFAULT)
    killed, second = (HugePages(sysfs, tmp_path / "lock") for _ in range(2))
    killed.take()
    (sysfs / "defrag").write_text(DEFERRED)
    second.take()
    assert "another agent" in second.state
    left = (tmp_path / "lock").read_bytes()
    killed.restore()
    (tmp_path / "lock").write_bytes(left)  # as after kill -9: the lock is free, file and setting are as they were
    (sysfs / "defrag").write_text(DEFERRED)
    second.take()
    (sysfs / "defrag").write_text(DEFERRED)
    second.restore()
    assert (sysfs / "defrag").read_text() == "madvise"


@pytest.mark.parametrize("there", [False, True], ids=["no such file", "without a choice"])
def test_a_kernel_without_huge_pages_is_left_alone(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "defrag").write_text("never\n")
    ours = HugePages(tmp_path, tmp_path / "lock")
    ours.take()
    assert not ours.owned
    assert "no transparent huge pages" in ours.state
    assert not (tmp_path / "lock").exists()

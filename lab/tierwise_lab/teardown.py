"""The end of a stack, by what it left in its directory: so any process can end it, whoever started it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tierwise_lab import cgroups, chroot
from tierwise_lab.daemons import stop_by_pid_files
from tierwise_lab.layout import SLOTS, Layout, try_claim
from tierwise_lab.mounts import unmount_below


def tear_down(layout: Layout) -> None:
    """End what pid files name, then whatever is left in the nodes' cgroups, mounts and files of a stack."""
    if not layout.top.exists():
        return
    if layout.pids.exists():
        # slurmd ends only when it has told slurmctld what its prologs did, and for that needs munged.
        last = [layout.pids / "slurmctld", layout.pids / "munged"]
        for ending in ([path for path in layout.pids.iterdir() if path not in last], *([path] for path in last)):
            stop_by_pid_files(ending)
    if layout.nodes.exists():
        for node in layout.nodes.read_text().split():
            cgroups.remove(node)
    chroot.leave(layout)
    unmount_below(layout.top)
    shutil.rmtree(layout.top)


def down() -> list[Path]:
    """Tear down every stack whose starter is gone, kept or not; returns their directories."""
    ended = []
    for number in range(SLOTS):
        slot = try_claim(number)
        if slot is not None:
            if slot.layout.top.exists():
                tear_down(slot.layout)
                ended.append(slot.layout.top)
            slot.release()
    return ended

"""Mounts inside a stack's directory, all undone together when it is torn down."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tierwise_lab.daemons import LabError


def mount(*args: str) -> None:
    """mount(8), quietly; CalledProcessError with its words if it fails."""
    subprocess.run(["mount", *args], check=True, capture_output=True, text=True)


def bind(source: Path, target: Path) -> None:
    """Show the tree `source` at `target`, too."""
    target.mkdir(parents=True, exist_ok=True)
    mount("--bind", str(source), str(target))


def bind_read_only(source: Path, target: Path) -> None:
    """Show the tree `source` at `target`, where nobody can change or remove anything of it."""
    bind(source, target)
    mount("-o", "remount,bind,ro", str(target))


def unmount_below(top: Path) -> None:
    """Unmount everything below `top`, the innermost first; lazily, as a dying process may still be in it.

    LabError if anything stays mounted: whoever removes `top` then would remove what is mounted there.
    """
    for point in sorted(_points_below(top), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)
    if left := list(_points_below(top)):
        raise LabError(f"still mounted: {', '.join(left)}: unmount them by hand, then run `down` again")


def _points_below(top: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(f"{top}/"):
            yield point

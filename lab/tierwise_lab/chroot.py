"""Another release of Slurm beside the host's: its directory tree under an overlay, entered by chroot.

The tree itself is never written: what the stack adds (users, mount points) goes into the overlay.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tierwise_lab import accounts
from tierwise_lab.daemons import wait_until
from tierwise_lab.layout import Layout
from tierwise_lab.mounts import bind, mount


def inside(layout: Layout) -> Path:
    """Where the tree is mounted."""
    return layout.top / "root"


def enter_into(layout: Layout, tree: Path) -> None:
    """Mount `tree` under an overlay, with /proc, /sys, /dev and the stack's own directory at its own path."""
    root, overlay = inside(layout), layout.top / "overlay"
    for folder in (root, overlay / "upper", overlay / "work"):
        folder.mkdir(parents=True)
    mount(
        "-t",
        "overlay",
        "tierwise-lab",
        str(root),
        "-o",
        f"lowerdir={tree},upperdir={overlay}/upper,workdir={overlay}/work",
    )
    for kernel in ("/proc", "/sys", "/dev"):
        mount("--rbind", kernel, f"{root}{kernel}")
        mount("--make-rslave", f"{root}{kernel}")
    here = root / layout.top.relative_to("/")
    bind(layout.top, here)
    accounts.add_to(root)
    (root / "etc" / "hosts").write_bytes(Path("/etc/hosts").read_bytes())


def command(layout: Layout, user: str) -> list[str]:
    """The prefix that runs a command inside as `user`, in that user's home where it has one."""
    uid, gid = accounts.ids(user)
    home = layout.home(user)
    return [
        "chroot",
        f"--userspec={uid}:{gid}",
        f"--groups={gid}",
        str(inside(layout)),
        "env",
        f"--chdir={home if home.exists() else '/'}",
    ]


def leave(layout: Layout) -> None:
    """Kill what still runs inside."""
    root = inside(layout)
    if root.exists():
        wait_until(lambda: not _kill_inside(root), f"processes inside {root} to die", 10)


def _kill_inside(root: Path) -> int:
    found = 0
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(proc / "root") == str(root):
                os.kill(int(proc.name), signal.SIGKILL)
                found += 1
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # gone meanwhile; or the machine's own init, which even root may not look into
    return found

"""The tmpfs mounts of staging and scratch: made in the host's own mount namespace, so that jobs see them.

A unit with a file-system sandbox has a namespace of its own, from which nothing spreads; what is mounted in the host's
spreads to it. Every mount is nosuid,nodev. mount(8) does the work: it knows each kernel's way.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tierwise_node.staging.source import StageError

MOUNTINFO = Path("/proc/self/mountinfo")
_LIMIT = 20.0
"""Seconds for one mount or umount."""


def policy(nodes: Sequence[int]) -> str:
    """The mount option that puts a tmpfs's pages on `nodes`, and elsewhere once these are full (never bind: a full
    node would end in the OOM killer). Documentation/filesystems/tmpfs.rst."""
    if len(nodes) == 1:
        return f"mpol=prefer:{nodes[0]}"
    return f"mpol=interleave:{','.join(map(str, nodes))}"


def make_own(folder: Path) -> None:
    """Make the folder that all mounts lie below, or see that it is ours: others may write to the one above it.

    Raises StageError and OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            raise StageError(f"{folder} is somebody else's: nothing is mounted there")
        os.fchmod(opened, 0o755)  # our umask would say no
    finally:
        os.close(opened)


def mounted(place: Path) -> bool:
    """Whether something is mounted exactly there."""
    wanted = str(place).replace(" ", "\\040")
    return any(line.split()[4] == wanted for line in MOUNTINFO.read_text().splitlines())


def mount_tmpfs(place: Path, size: int, nodes: Sequence[int], mode: int, uid: int = 0, gid: int = 0) -> None:
    """Mount a tmpfs of at most `size` bytes on the memory of `nodes`; adopt and resize the one that is there.

    Raises StageError.
    """
    options = f"size={size},{policy(nodes)}"
    if mounted(place):
        _run("mount", "-o", f"remount,nosuid,nodev,{options}", str(place))
        return
    options += f",mode={mode:o},uid={uid},gid={gid},nosuid,nodev"
    _run("mount", "-t", "tmpfs", "-o", options, "tierwise", str(place))
    if not mounted(place):
        unmount_on_host(place)
        raise StageError(
            f"{place} is mounted on the host, and the agent's own mount namespace doesn't see it (propagation)"
        )


def show_read_only(source: Path, place: Path) -> None:
    """Let everybody see the tmpfs at `source` below `place`, where nobody can write, chmod or chown. Raises
    StageError."""
    if not mounted(place):
        _run("mount", "--bind", str(source), str(place))
    _run("mount", "-o", "remount,bind,ro,nosuid,nodev", str(place))


def unmount(place: Path) -> None:
    """Unmount it; what processes still hold open goes with the last of them. Raises StageError."""
    if mounted(place):
        unmount_on_host(place)


def unmount_on_host(place: Path) -> None:
    """Unmount it, whether or not our own namespace knows of it."""
    _run("umount", "--lazy", str(place))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            [*_in_hosts_namespace(), *command], capture_output=True, text=True, timeout=_LIMIT, check=False,
            stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(f"{' '.join(command)}: {error}") from None
    if done.returncode != 0:
        raise StageError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


def _in_hosts_namespace() -> list[str]:
    """A command prefix; empty where this is the host's namespace, or where the host's is not ours to enter."""
    try:
        if os.readlink("/proc/1/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            return []
    except OSError:
        return []
    return ["nsenter", "--mount=/proc/1/ns/mnt", "--"]

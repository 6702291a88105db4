"""The unprivileged users of the lab: one that Slurm's controller runs as, and two that submit jobs."""

from __future__ import annotations

import pwd
import subprocess
from pathlib import Path
from typing import TypedDict

SLURM_USER = "tierwise-slurm"
JOB_USERS = ("tierwise-alice", "tierwise-bob")


def ensure_users() -> None:
    """Create the lab's users where they are missing. They stay: files of theirs may."""
    for name in (SLURM_USER, *JOB_USERS):
        try:
            pwd.getpwnam(name)
        except KeyError:
            subprocess.run(
                [
                    "useradd",
                    "--system",
                    "--user-group",
                    "--no-create-home",
                    "--home-dir",
                    "/nonexistent",
                    "--shell",
                    "/bin/sh",
                    name,
                ],
                check=True,
                capture_output=True,
                text=True,
            )


def ids(name: str) -> tuple[int, int]:
    """uid and gid of a user of this machine."""
    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


class Identity(TypedDict, total=False):
    """The arguments of subprocess.Popen that make a child somebody else's."""

    user: int
    group: int
    extra_groups: list[int]


def identity(name: str) -> Identity:
    """How to start a child as `name`; root stays as it is."""
    if name == "root":
        return {}
    uid, gid = ids(name)
    return {"user": uid, "group": gid, "extra_groups": [gid]}


def add_to(root: Path) -> None:
    """Make the lab's users known inside the directory tree `root`, under the uids they have here."""
    for table, line in (("passwd", "{0}:x:{1}:{2}::/nonexistent:/bin/sh\n"), ("group", "{0}:x:{2}:\n")):
        path = root / "etc" / table
        others = [
            known
            for known in path.read_text().splitlines(keepends=True)
            if known.split(":")[0] not in (SLURM_USER, *JOB_USERS)
        ]
        path.write_text("".join(others) + "".join(line.format(name, *ids(name)) for name in (SLURM_USER, *JOB_USERS)))


class Process(Identity, total=False):
    """An identity and where the child starts."""

    cwd: Path

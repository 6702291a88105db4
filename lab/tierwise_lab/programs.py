"""Running the host's programs: their output followed, their failures told with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Timer

from tierwise_lab.daemons import LabError
from tierwise_lab.progress import Say

PACKAGE_OF = {
    "fakeroot": "fakeroot",
    "gcc": "gcc",
    "make": "make",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
}
TAIL_LINES = 30


def need(*programs: str) -> None:
    """Raise LabError naming the Debian packages of those `programs` that this host lacks."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # mke2fs is there, outside a user's PATH
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        packages = " ".join(PACKAGE_OF[program] for program in missing)
        raise LabError(f"{', '.join(missing)}: not found; install with `apt-get install {packages}`")


def follow(
    argv: Sequence[str], say: Say, *, timeout: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a program to its end and show each line it prints.

    Raises LabError with the command and its last lines if it fails or is not done within `timeout` seconds.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    timer = Timer(timeout, process.terminate)
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            say(line.strip())
        code = process.wait()
    except BaseException:
        process.terminate()  # not SIGKILL: mmdebstrap unmounts and removes what it made
        process.wait()
        raise
    finally:
        timed_out = not timer.is_alive()
        timer.cancel()
    if code != 0:
        why = f"not done within {timeout:g} s" if timed_out else f"exit {code}"
        raise LabError("\n".join([f"{' '.join(argv)}: {why}; its last lines:", *tail]))


def as_root(argv: Sequence[str]) -> list[str]:
    """`argv` such that the files it writes into an archive or an image are root's, whoever runs it."""
    return list(argv) if os.geteuid() == 0 else ["fakeroot", "--", *argv]

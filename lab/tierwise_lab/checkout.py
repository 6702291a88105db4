"""The commands of a checkout for users who can't look into it: root's home is closed, a developer's often too.

Python, its packages and the checkout are bound into the stack's directory, and the commands there run from those.
"""

from __future__ import annotations

import shlex
import sys
import sysconfig
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

from tierwise_lab.layout import Layout
from tierwise_lab.mounts import bind_read_only
from tierwise_lab.options import REPOSITORY

ROOMS = ("library", "policy", "decision", "nodeagent", "slurm_plugin", "cli")


def install_commands(layout: Layout) -> None:
    """Make every console script in the layout's `bin`. An installed Tierwise has its own: nothing then."""
    if not (REPOSITORY / "setup.py").exists():
        return
    base, site, source = (layout.top / name for name in ("python", "site", "source"))
    bind_read_only(Path(sys.base_prefix), base)
    bind_read_only(Path(sysconfig.get_path("purelib")), site)
    bind_read_only(REPOSITORY, source)
    path = [*(str(source / room) for room in ROOMS), str(site)]
    layout.bin.mkdir()
    for command in distribution("tierwise").entry_points.select(group="console_scripts"):
        script = layout.bin / command.name
        script.write_text(_launcher(base, path, command))
        script.chmod(0o755)


def _launcher(base: Path, path: list[str], command: EntryPoint) -> str:
    """A shell script that runs a console script with the Python at `base`.

    A Python outside /usr may have its libpython beside it, under a path that is closed; its children must not
    inherit our way around that.
    """
    python = base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = (
        "import os, sys\n"
        "del os.environ['LD_LIBRARY_PATH']\n"
        f"sys.argv[0] = '{command.name}'\n"
        f"sys.path[:0] = {path}\n"
        f"from {command.module} import {command.attr}\n"
        f"sys.exit({command.attr}())\n"
    )
    quoted = shlex.quote(program)
    return f'#!/bin/sh\nLD_LIBRARY_PATH={base}/lib exec {python} -P -c {quoted} "$@"\n'

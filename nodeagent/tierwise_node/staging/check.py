"""The row of `tierctl doctor` about staging and scratch."""

import os
import re
import shutil
from pathlib import Path

from tierwise.messages import Mechanism
from tierwise_node.staging.source import RESOLVE_IN_ROOT, open_below

NEEDED = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_ADMIN": 21}
"""Capabilities and their bits, linux/capability.h."""


def mechanism(folder: str) -> Mechanism:
    """`folder` is agent.stage.path."""
    name = "staging and scratch"
    if not folder:
        return Mechanism(name, "off", "switched off by agent.stage.path")
    if missing := [capability for capability, bit in NEEDED.items() if not _effective() >> bit & 1]:
        return Mechanism(name, "missing", f"the agent has no CAP_{', CAP_'.join(missing)}", "see its unit")
    if not shutil.which("mount", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        return Mechanism(name, "missing", "no mount(8) here", "install util-linux and mount")
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(open_below(root, "proc", os.O_PATH, RESOLVE_IN_ROOT))
    except OSError as error:
        advice = "needs Linux 5.6, and a unit without RestrictSUIDSGID"
        return Mechanism(name, "missing", f"openat2(2): {error.strerror}", advice)
    finally:
        os.close(root)
    return Mechanism(name, "used", f"tmpfs below {folder}, when they are asked for")


def _effective() -> int:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1], 16) if found else 0

"""What Slurm itself says of its configuration: `scontrol show config`, parsed."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping

from tierwise.errors import UnavailableError

_LINE = re.compile(r"^(\w+)(?:\[\d+\])?\s*= ?(.*?)\s*$")
_TIMEOUT = 10.0
Settings = Mapping[str, tuple[str, ...]]


def parse(text: str) -> Settings:
    """Values by key. Since 24.05 a key with several values has a line for each (`Prolog[0]`); `(null)` is none."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := _LINE.match(line):
            values = found.setdefault(match[1], [])
            if match[2] not in ("", "(null)", "n/a"):
                values.append(match[2])
    return {key: tuple(values) for key, values in found.items()}


def read(slurm_conf: str = "") -> Settings:
    """Ask scontrol; `slurm_conf` names the file where it is not Slurm's default. Raises UnavailableError."""
    if shutil.which("scontrol") is None:
        raise UnavailableError("scontrol is not in PATH")
    env = os.environ | {"LC_ALL": "C"} | ({"SLURM_CONF": slurm_conf} if slurm_conf else {})
    try:
        answer = subprocess.run(
            ["scontrol", "show", "config"],
            capture_output=True,
            text=True,
            errors="replace",
            env=env,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"scontrol show config took more than {_TIMEOUT:g} s") from None
    if answer.returncode:
        reason = (answer.stderr or answer.stdout).strip().splitlines() or ["no reason given"]
        raise UnavailableError(f"scontrol show config failed: {reason[-1]}")
    return parse(answer.stdout)


def first(settings: Settings, key: str) -> str:
    """The first value of `key`, or nothing."""
    return next(iter(settings.get(key, ())), "")


def items(settings: Settings, key: str) -> list[str]:
    """A comma-separated value as a list."""
    return [item.strip() for value in settings.get(key, ()) for item in value.split(",") if item.strip()]

"""Whether Slurm loads our SPANK plugin: plugstack.conf(5) says so, through its includes."""

from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Literal

from tierwise.messages import Mechanism
from tierwise_cli.mechanisms.slurmconf import Settings, first

_DEPTH = 8
"""Includes inside includes: more is a circle."""
State = Literal["used", "missing", "off"]
_LINE = "optional /usr/lib/tierwise/slurm-RELEASE/tierwise.so"


def spank(settings: Settings) -> Mechanism:
    """The row of the SPANK plugin."""
    path = Path(first(settings, "PlugStackConfig") or "/etc/slurm/plugstack.conf")
    try:
        line = next((line for line in lines(path) if _is_ours(line)), None)
    except OSError as error:
        return _row("missing", f"{error.filename}: {error.strerror}", f"it should hold: {_LINE}")
    if line is None:
        return _row("missing", f"no line of {path} loads tierwise.so", f"add: {_LINE}")
    return _loaded(*line)


def _loaded(need: str, plugin: str, *arguments: str) -> Mechanism:
    if "off" in arguments:
        return _row("off", "`off` stands in its line: directives are accepted and do nothing")
    if plugin.startswith("/") and not Path(plugin).exists():
        return _row("missing", f"{plugin} does not exist here", "install the build for this Slurm release")
    if need == "required":
        return _row("used", f"{plugin}, `required`: without it sbatch fails", "write `optional`")
    return _row("used", plugin)


def _row(state: State, detail: str, advice: str = "") -> Mechanism:
    return Mechanism("SPANK plugin (--tier)", state, detail, advice)


def lines(path: Path, depth: int = 0) -> Iterator[list[str]]:
    """The words of each plugin line of a plugstack file, with those of its includes. Raises OSError."""
    for text in path.read_text(errors="replace").splitlines():
        words = text.partition("#")[0].split()
        if len(words) == 2 and words[0] == "include" and depth < _DEPTH:
            for included in sorted(glob(str(path.parent / words[1]))):
                yield from lines(Path(included), depth + 1)
        elif len(words) >= 2:
            yield words


def _is_ours(words: list[str]) -> bool:
    return words[0] in ("optional", "required") and Path(words[1]).name == "tierwise.so"

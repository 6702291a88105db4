"""Slurm's host lists: `n[1-3,07],gpu1` stands for n1, n2, n3, n07 and gpu1 (scontrol(1), show hostnames)."""

import re
from collections.abc import Iterator

MOST = 65536
_RANGES = re.compile(r"\[([0-9,-]+)\]")
_PARTS = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])+")


def expand(text: str) -> tuple[str, ...]:
    """The names of a list in its order. Raises ValueError for what is no list, or is one of more than MOST names."""
    if text.count("[") != len(_RANGES.findall(text)) or text.count("]") != text.count("["):
        raise ValueError(f"{text[:80]!r} is no host list")
    names: list[str] = []
    for part in _PARTS.findall(text):
        for name in _names(part):
            names.append(name)
            if len(names) > MOST:
                raise ValueError(f"a host list of more than {MOST} names")
    return tuple(names)


def _names(part: str) -> Iterator[str]:
    match = _RANGES.search(part)
    if match is None:
        yield part
        return
    for item in match[1].split(","):
        first, dash, last = item.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part[:80]!r} is no host list")
        for number in range(int(first), int(last or first) + 1):
            # What follows the first bracket may hold another: rack[1-2]node[1-4].
            yield from _names(f"{part[: match.start()]}{number:0{len(first)}d}{part[match.end() :]}")

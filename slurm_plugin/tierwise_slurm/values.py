"""Slurm's ways to write a size, a time span, an exit code, and what they are in bytes, seconds and numbers."""

import re

MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(r"([0-9.]+)([KMGTP]?)")
_SPAN = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(?:(\d+):)?(\d+)(?:\.\d+)?")


def size(text: str, unit: int = MIB) -> int:
    """`300M`, `1.50G`, `100` (of `unit`) as bytes; 0 for what is no size."""
    found = _SIZE.fullmatch(text.strip())
    return int(float(found[1]) * _UNITS.get(found[2], unit)) if found else 0


def seconds(text: str) -> int:
    """`30:00`, `1-00:00:00`; 0 for `UNLIMITED` and the like."""
    found = _SPAN.fullmatch(text.strip())
    if not found:
        return 0
    days, first, second, last = (int(part or 0) for part in found.groups())
    if found[3] is None:  # two parts are minutes and seconds
        return days * 86400 + first * 60 + last
    return days * 86400 + first * 3600 + second * 60 + last


def moment(text: str) -> int:
    """Seconds since the epoch as nanoseconds; 0 for `Unknown` and the like."""
    return int(text) * 1_000_000_000 if text.strip().isdigit() else 0


def exit_code(text: str) -> tuple[int, int]:
    """`0:125` as code and signal; some releases write the wait status as one number."""
    code, colon, signal = text.strip().partition(":")
    if not code.isdigit():
        return 0, 0
    if not colon:
        return int(code) >> 8, int(code) & 0x7F
    return int(code), int(signal) if signal.isdigit() else 0


def number(text: str) -> int:
    """A count; 0 for what is none."""
    text = text.strip()
    return int(text) if text.isdigit() else 0

"""The guest's side of the memory clock: see csrc/tierclock/marks.h."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

DISK = Path("/bench")


@cache
def _marks() -> ctypes.CDLL:
    return ctypes.CDLL(str(DISK / "libtiermark.so"))


def on() -> None:
    """Count all that the guest does from here on."""
    _marks().tier_clock_on()


def off() -> None:
    """Stop counting."""
    _marks().tier_clock_off()


def begin() -> None:
    """What runs on this CPU from here on is the program that is measured."""
    _marks().tier_begin()


def end() -> None:
    """It has ended."""
    _marks().tier_end()

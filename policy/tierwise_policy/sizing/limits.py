"""From an estimate to a job's limits: what is changed, as far as its user and the admin allow, and what is said."""

import math
from typing import Literal

import msgspec

from tierwise.units import MIB, format_size
from tierwise_policy.sizing.estimator import Estimate

Policy = Literal["advise", "fill", "enforce"]
"""How far the admin lets estimates go: say them; fill in what the user left open; replace what the user gave, too."""

_FAR = 2
"""Asking for so many times the estimate is far too much …"""
_FAR_BYTES, _FAR_SECONDS = 1024 * MIB, 3600
"""… where it is also more than this that stays unused …"""
_FAR_RUNS = 3
"""… and so many runs have shown it."""
_ROUND = 64
"""Advice is rounded up to so many MiB: what people write into their scripts."""


class Asked(msgspec.Struct, frozen=True):
    """What a job's user said. Bytes per node and seconds; `…_given` is false where they are a default's, or unknown.

    `auto`: the user wrote --tier=auto, and so leaves limits to us.
    """

    memory: int
    memory_given: bool
    seconds: int
    seconds_given: bool
    auto: bool


class Limits(msgspec.Struct, frozen=True):
    """What to write onto a job, 0 for what stays as it is, and what to tell its user."""

    memory: int = 0
    seconds: int = 0
    notices: tuple[str, ...] = ()


def limits_for(estimate: Estimate, asked: Asked, policy: Policy) -> Limits:
    """A job's limits by its estimate. Only jobs that say --tier=auto are changed, and only as far as `policy` goes."""
    memory = estimate.limit
    seconds = math.ceil(estimate.seconds / 60) * 60
    new_memory = memory if _may(policy, asked.auto, asked.memory_given) else 0
    new_seconds = seconds if _may(policy, asked.auto, asked.seconds_given) else 0
    notices = []
    if asked.auto and memory:
        done = "has" if new_memory else "would need"
        notices.append(f"it {done} {format_size(memory)} of memory on each node: {estimate.basis}")
    elif (asked.memory_given and estimate.runs >= _FAR_RUNS and memory) and (
        asked.memory > max(_FAR * memory, memory + _FAR_BYTES)
    ):
        notices.append(
            f"it asks for {format_size(asked.memory)} of memory on each node, and would need {format_size(memory)} "
            f"({estimate.basis}): --mem={_advised(memory)} would do"
        )
    if asked.auto and seconds:
        done = "has" if new_seconds else "would need"
        notices.append(f"it {done} {_span(seconds)}: {estimate.time_basis}")
    elif (asked.seconds_given and estimate.runs >= _FAR_RUNS and seconds) and (
        asked.seconds > max(_FAR * seconds, seconds + _FAR_SECONDS)
    ):
        notices.append(
            f"it asks for {_span(asked.seconds)}, and would need {_span(seconds)} ({estimate.time_basis}): "
            f"--time={_span(seconds)} would let it start sooner"
        )
    return Limits(new_memory, new_seconds, tuple(notices))


def _may(policy: Policy, auto: bool, given: bool) -> bool:
    return auto and (policy == "enforce" or (policy == "fill" and not given))


def _advised(memory: int) -> str:
    return f"{math.ceil(memory / MIB / _ROUND) * _ROUND}M"


def _span(seconds: int) -> str:
    """As Slurm writes it: hours:minutes:seconds."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

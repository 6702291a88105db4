"""Why a job ended, and what a larger request would be (chapter 4, Timeout Manager and its failure handling).

Out of memory, out of time, a node's failure and the program's own are told apart; the first two mend the request.
"""

from typing import Literal

import msgspec

Cause = Literal["well", "memory", "time", "node", "program", "cancelled", "unknown"]

OOM_SIGNAL = 125
"""What Slurm writes as the signal of a job or step that the OOM killer ended (0:125)."""
GROWTH = 2
"""How much more a retry gets at least."""

_STATES: dict[str, Cause] = {
    "OUT_OF_MEMORY": "memory",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "CANCELLED": "cancelled",
    "PREEMPTED": "cancelled",
    "REVOKED": "cancelled",
}
_REASONS: dict[str, Cause] = {"OutOfMemory": "memory", "TimeLimit": "time", "NodeDown": "node", "NodeFail": "node"}
"""While a job is COMPLETING, some releases show no other state: then its reason tells."""


class Ending(msgspec.Struct, frozen=True):
    """How a job ended. `failed` is false for a job that ended well although one of its steps ran out of memory."""

    cause: Cause
    failed: bool


def ending(
    state: str, reason: str, *, exit_code: int, exit_signal: int, derived_signal: int = 0, oom_kills: int = 0
) -> Ending:
    """How a job ended, by Slurm's state and reason, its exit status, that of its steps, and the kills that its cgroup
    counted: a batch script may end well, or with a code of its own, after a step of it was killed for memory."""
    cause = _STATES.get(state) or _REASONS.get(reason)
    if cause:
        return Ending(cause, failed=True)
    if exit_signal == OOM_SIGNAL:
        return Ending("memory", failed=True)
    failed = bool(exit_code or exit_signal) or state == "FAILED"
    if failed and state == "COMPLETING" and reason in ("", "None"):
        return Ending("cancelled", failed=True)  # what failed by itself has a reason
    if oom_kills or derived_signal == OOM_SIGNAL:
        return Ending("memory", failed)
    if failed:
        return Ending("program", failed=True)
    return Ending("well" if state in ("COMPLETED", "COMPLETING") else "unknown", failed=False)


class Mend(msgspec.Struct, frozen=True):
    """A larger request: bytes per node and seconds, 0 where that stays as it is. `why_not`: there is none, and why."""

    memory: int = 0
    seconds: int = 0
    why_not: str = ""


def mend(
    cause: Cause,
    memory: int,
    seconds: int,
    *,
    most_memory: int,
    most_seconds: int,
    likely_memory: int = 0,
    likely_seconds: int = 0,
) -> Mend:
    """The request of the next attempt: twice as much of what was too little, or what history says is likely where that
    is more, at most `most_…` (what enough nodes of the partition have; its time limit, 0 for none).

    After a node's failure the same request holds.
    """
    if cause == "node":
        return Mend()
    if cause == "memory":
        wanted = min(max(memory * GROWTH, likely_memory), most_memory)
        if not memory or wanted <= memory:
            return Mend(why_not="no more memory can be asked for: it has all that its partition's nodes have")
        return Mend(memory=wanted)
    if cause == "time":
        wanted = max(seconds * GROWTH, likely_seconds)
        wanted = min(wanted, most_seconds) if most_seconds else wanted
        if not seconds or wanted <= seconds:
            return Mend(why_not="no more time can be asked for: it has its partition's limit")
        return Mend(seconds=wanted)
    return Mend(why_not="the program's own failure: more of anything would not help")

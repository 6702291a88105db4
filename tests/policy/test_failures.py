"""How a job ended, as real Slurms say it, and what a larger request is."""

from __future__ import annotations

import pytest

from tierwise.units import GIB, MIB
from tierwise_policy.failures import ending, mend

# What Slurm 22.05.8 said: state, reason, exit code and signal, the steps' signal, kills that the agent counted.
SEEN = {
    "out of memory, completing": ("COMPLETING", "OutOfMemory", 0, 125, 0, 0, "memory", True),
    "out of memory": ("OUT_OF_MEMORY", "OutOfMemory", 0, 125, 0, 1, "memory", True),
    "a step's, the script ends well": ("COMPLETED", "None", 0, 0, 125, 0, "memory", False),
    "a step's, the script fails": ("FAILED", "NonZeroExitCode", 3, 0, 125, 0, "memory", True),
    "a process of the script, which fails": ("FAILED", "NonZeroExitCode", 137, 0, 0, 1, "memory", True),
    "out of time": ("TIMEOUT", "TimeLimit", 0, 15, 0, 0, "time", True),
    "out of time, completing": ("COMPLETING", "TimeLimit", 0, 0, 0, 0, "time", True),
    "its own failure": ("FAILED", "NonZeroExitCode", 7, 0, 0, 0, "program", True),
    "a signal of its own": ("FAILED", "JobLaunchFailure", 0, 11, 0, 0, "program", True),
    "cancelled": ("CANCELLED", "None", 0, 15, 0, 0, "cancelled", True),
    "cancelled, completing": ("COMPLETING", "None", 0, 15, 0, 0, "cancelled", True),
    "its node failed": ("NODE_FAIL", "NodeDown", 0, 0, 0, 0, "node", True),
    "its node failed, completing": ("COMPLETING", "NodeDown", 0, 0, 0, 0, "node", True),
    "well": ("COMPLETED", "None", 0, 0, 0, 0, "well", False),
    "well, completing": ("COMPLETING", "None", 0, 0, 0, 0, "well", False),
}


@pytest.mark.parametrize("name", SEEN)
def test_causes_are_told_apart(name: str) -> None:
    state, reason, code, signal, derived, kills, cause, failed = SEEN[name]
    how = ending(state, reason, exit_code=code, exit_signal=signal, derived_signal=derived, oom_kills=kills)
    assert (how.cause, how.failed) == (cause, failed)


def test_memory_doubles_or_follows_history_within_the_nodes() -> None:
    def larger(memory: int, likely: int = 0) -> int:
        return mend("memory", memory, 0, most_memory=4 * GIB, most_seconds=0, likely_memory=likely).memory

    assert larger(100 * MIB) == 200 * MIB
    assert larger(100 * MIB, likely=150 * MIB) == 200 * MIB
    assert larger(100 * MIB, likely=700 * MIB) == 700 * MIB
    assert larger(3 * GIB) == 4 * GIB
    assert larger(100 * MIB, likely=9 * GIB) == 4 * GIB


@pytest.mark.parametrize("memory", [0, 4 * GIB, 5 * GIB])
def test_memory_that_cannot_grow(memory: int) -> None:
    found = mend("memory", memory, 0, most_memory=4 * GIB, most_seconds=0)
    assert (found.memory, bool(found.why_not)) == (0, True)


def test_time_doubles_within_the_partitions_limit() -> None:
    assert mend("time", 0, 600, most_memory=0, most_seconds=0).seconds == 1200
    assert mend("time", 0, 600, most_memory=0, most_seconds=900).seconds == 900
    assert mend("time", 0, 600, most_memory=0, most_seconds=3600, likely_seconds=1500).seconds == 1500
    assert mend("time", 0, 900, most_memory=0, most_seconds=900).why_not


def test_what_more_would_not_help() -> None:
    assert mend("program", 1, 1, most_memory=9, most_seconds=9).why_not
    assert mend("node", 1, 1, most_memory=9, most_seconds=9).why_not == ""

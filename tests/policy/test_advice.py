"""What a script is advised to ask for next time."""

from __future__ import annotations

import pytest

from tierwise.messages import Attempt
from tierwise.units import MIB
from tierwise_policy.advice import advice


def run(cause: str, memory: int, time_limit: int = 3600) -> Attempt:
    return Attempt(
        restart=0, state="", cause=cause, exit_code=0, exit_signal=0, memory=memory * MIB, peak=0,
        time_limit=time_limit, started=1, ended=2,
    )  # fmt: skip


CASES = {
    "far too much": ([run("well", 4000)], 4000, 500, 3000, "--mem=640M"),
    "nearly right": ([run("well", 600)], 600, 500, 3000, ""),
    "too little, then enough": ([run("memory", 100), run("well", 200)], 200, 150, 3000, "--mem=192M"),
    "too little to the end": ([run("memory", 100), run("memory", 200)], 200, 200, 3000, "--mem=448M --tier-retry=2"),
    "a short job": ([run("well", 600)], 600, 500, 61, "--time=2"),
    "out of time": ([run("time", 600)], 600, 500, 3600, "--time=120"),
    "out of time, then well": ([run("time", 600, 60), run("well", 600, 120)], 600, 500, 95, "--time=3"),
    "nothing known": ([], 0, 0, 0, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_advised(name: str) -> None:
    attempts, memory, peak, seconds, wanted = CASES[name]
    limit = attempts[-1].time_limit if attempts else 0
    line, why = advice(attempts, memory=memory * MIB, peak=peak * MIB, seconds=seconds, time_limit=limit)
    assert line == (f"#SBATCH {wanted}" if wanted else "")
    assert bool(why) == bool(wanted)

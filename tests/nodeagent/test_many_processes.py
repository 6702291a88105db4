"""A job of two thousand processes: all of them are the job's, and the agent goes on serving."""

from __future__ import annotations

import os
from contextlib import contextmanager

from handmade import NOBODY, hand_made, running_agent, until

from tierwise.units import MIB
from tierwise_node.cgroups import Cgroups

NODE = "many"
PROCESSES = 2000
FORKS = (
    'n=0; while [ $n -lt "$2" ]; do read x < "$1" > /dev/null & n=$((n + 1)); done; exec /usr/bin/python3 -I -c "$3"'
)
"""Children of a shell are small, so two thousand of them cost little; each waits for a pipe that nobody writes."""
HOLDS = 'import time; held = bytearray(b"1" * (34 << 20)); print("ready", flush=True); time.sleep(600)'


def test_a_job_of_two_thousand_processes() -> None:
    with running_agent(NODE, {}) as agent, contextmanager(hand_made)(NODE) as cgroups:
        cgroups.make(1)
        pipe = agent.folder / "pipe"
        os.mkfifo(pipe)
        pipe.chmod(0o644)
        process = cgroups.start(1, ["sh", "-c", FORKS, "sh", str(pipe), str(PROCESSES), HOLDS])
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(Cgroups(NODE).jobs()[1].pids()) == PROCESSES + 1
        agent.ask(op="task", job_id=1, step=0, uid=NOBODY, tier="lat", mem=200 * MIB)
        until(lambda: sum(agent.job(1)["found"].values()) > 32 * MIB, "its memory to be counted", 60)
        cgroups.remove(1)
        agent.ask(op="epilog", job_id=1, uid=NOBODY)
        assert len(agent.reports()) == 1

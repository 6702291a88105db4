"""One measurement on the virtual node: `python -m tiering.inside.node`, a JSON `Trial` on its input, the outcome on
its output. The clock runs from the moment that the jobs may work until the last has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tiering.environments import ENVIRONMENTS
from tiering.inside import cgroups, clock, damon, memory
from tiering.inside.agent import Agent
from tiering.inside.cgroups import Job

SYSTEM_CPU = 0
VMSTAT = ("pswpin", "pswpout", "pgmajfault", "pgfault", "pgpromote_success", "pgmigrate_success")
DEMOTED = ("pgdemote_kswapd", "pgdemote_direct", "pgdemote_khugepaged", "pgdemote_proactive")
INTERLEAVE = cgroups.memory_policy(3, [0, 1, 2])


def measure(trial: dict[str, Any]) -> dict[str, Any]:
    """Run the trial's jobs at the same time, each on a CPU of its own, and say what the kernel saw.

    `environment` is its name, `jobs` maps each workflow to its directive, `memory` to its limit, `free` are bytes left
    free on each node.
    """
    environment = ENVIRONMENTS[trial["environment"]]
    for path, value in environment.settings.items():
        Path(path).write_text(value)
    free = memory.leave_free({int(node): size for node, size in trial["free"].items()})
    agent = Agent(SYSTEM_CPU) if environment.manager == "tierwise" else None
    jobs: list[Job] = []
    try:
        for number in range(len(trial["jobs"])):
            jobs.append(_start(trial, number, agent))
        for job in jobs:
            job.await_ready()
        if environment.manager == "damon":
            damon.start([job.process.pid for job in jobs])
        outcome = _run(jobs) | {"free": free}
        if environment.manager == "damon":
            outcome["damon"] = damon.stop()
        if agent:
            outcome["agent"] = agent.known(jobs)
    finally:
        for job in jobs:
            job.remove()
        if agent:
            agent.stop()
    return outcome


def _start(trial: dict[str, Any], number: int, agent: Agent | None) -> Job:
    workflow, directive = list(trial["jobs"].items())[number]
    cpu, limit = SYSTEM_CPU + 1 + number, trial["memory"][workflow]
    policy = INTERLEAVE if ENVIRONMENTS[trial["environment"]].manager == "interleave" else None
    if agent:  # before its cgroup is there, as a prolog would
        policy = agent.task(trial["first_id"] + number, directive, limit)
    return Job(trial["first_id"] + number, workflow, cpu, limit, policy)


def _run(jobs: list[Job]) -> dict[str, Any]:
    flushers = [
        subprocess.Popen(["taskset", "-c", str(job.cpu), str(clock.DISK / "flusher")], stdout=subprocess.DEVNULL)
        for job in jobs
    ]
    before = _vmstat()
    clock.on()
    for job in jobs:
        job.go()
    results = {job.workflow: json.loads(job.done()) | {"cpu": job.cpu, "peak": job.peak()} for job in jobs}
    clock.off()
    after = _vmstat()
    for flusher in flushers:
        flusher.kill()
        flusher.wait()
    return {"jobs": results, "kernel": {name: after[name] - before[name] for name in before}}


def _vmstat() -> dict[str, int]:
    lines = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    found = {name: int(lines[name]) for name in VMSTAT}
    return found | {"demoted": sum(int(lines.get(name, 0)) for name in DEMOTED)}


def main() -> None:
    """Prepare the node at the first trial, and measure."""
    os.sched_setaffinity(0, {SYSTEM_CPU})
    if not clock.DISK.is_mount():
        clock.DISK.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "ro", "/dev/vdc", clock.DISK], check=True)
        subprocess.run(["swapon", "/dev/vdd"], check=True)
        cgroups.prepare()
    print(json.dumps(measure(json.load(sys.stdin))))


if __name__ == "__main__":
    main()

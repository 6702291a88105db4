"""What the end of a job costs the controller's host, for bench/scale.py: EpilogSlurmctld, and what follows from it."""

from __future__ import annotations

import time

import psutil
from figures import Figure
from submit import run

from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

JOBS = 40
SETTLED = 15.0
"""Seconds after the last end: the service has asked for scripts and reports by then."""


def endings() -> list[Figure]:
    """CPU time of slurmctld, the service and all that they start, for a job that ends well: with EpilogSlurmctld less
    without it. Jobs without --tier, whose script the service asks for, are the dearest."""
    with Stack(StackOptions(nodes=1)) as stack:
        text = stack.layout.slurm_conf.read_text()
        lines = [line for line in text.splitlines() if not line.startswith("EpilogSlurmctld=")]
        with_it = _per_job(stack)
        stack.layout.slurm_conf.write_text("\n".join(lines) + "\n")
        run(stack, ["scontrol", "reconfigure"], user="root")
        without = _per_job(stack)
    return [
        Figure("ended_job_cpu_ms", "what a job's end costs the controller's host, CPU ms", with_it - without, None, 10)
    ]


def _per_job(stack: Stack) -> float:
    """CPU milliseconds for each of some jobs that do nothing."""
    before = _cpu_seconds(stack)
    run(stack, ["sh", "-c", f"for n in $(seq {JOBS}); do sbatch -Q --mem=10 -o /dev/null --wrap true || exit; done"])
    while run(stack, ["squeue", "--noheader", "--states=PD,R,CG"]).strip():
        time.sleep(0.3)
    time.sleep(SETTLED)
    return 1e3 * (_cpu_seconds(stack) - before) / JOBS


def _cpu_seconds(stack: Stack) -> float:
    """What both daemons have used so far, with their children that have ended."""
    found = 0.0
    for name in ("slurmctld", "decision"):
        top = psutil.Process(stack.daemons[name].pid)
        for process in (top, *top.children(recursive=True)):
            times = process.cpu_times()
            found += times.user + times.system + times.children_user + times.children_system
    return found

"""What tests ask Tierwise: through tierctl as a person would, and on the sockets as any user's program could."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from tierwise.client import DecisionClient
from tierwise.errors import RefusedError, TierwiseError
from tierwise.local import ask
from tierwise.messages import JobReport, JobSample, JobView
from tierwise.plans import Plan
from tierwise_lab import accounts
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.stack import Stack

T = TypeVar("T")
PATIENCE_S = 30.0
"""An agent answers in milliseconds; on a machine that does all of CI at once it may wait for its turn."""


def job_view(stack: Stack, job_id: int | str, user: str = ALICE) -> JobView | None:
    """What `tierctl job ID --json` shows `user`; None while the service does not know the job."""
    done = stack.run(["tierctl", "job", str(job_id), "--json"], user=user)
    return msgspec.json.decode(done.stdout, type=JobView) if done.returncode == 0 else None


def job_known(stack: Stack, job_id: int | str, enough: Callable[[JobView], bool], what: str, timeout: float) -> JobView:
    """What tierctl shows of a job once the service knows enough of it. tierctl is asked only then: it is a Python that
    starts, and asked again and again it would take the machine from those who are waited for."""

    def known() -> bool:
        try:
            return enough(client.job(int(job_id)))
        except TierwiseError:  # not known yet, or the service starts again
            return False

    with DecisionClient(str(stack.layout.decision_socket), timeout=timeout) as client:
        wait_until(known, what, timeout)
    view = job_view(stack, job_id)
    assert view is not None
    assert enough(view)
    return view


def sample(stack: Stack, job_id: int | str, node: str) -> JobSample | None:
    """The agent's own view of a job that runs on its node; None while it knows of none."""
    try:
        answer = ask(str(stack.layout.agent_socket(node)), {"op": "job", "job_id": job_id}, PATIENCE_S)
    except RefusedError:
        return None
    return msgspec.json.decode(answer["json"], type=JobSample)


def plan_of(stack: Stack, job_id: int | str, node: str, timeout: float = 120) -> Plan:
    """The plan of a job that runs on `node`, once the agent has made it."""

    def made() -> Plan | None:
        now = sample(stack, job_id, node)
        return now and now.plan

    return wait_until(made, f"the agent of {node} to make a plan for job {job_id}", timeout)


def reports(stack: Stack, job_id: int | str, count: int = 1, timeout: float = 120) -> tuple[JobReport, ...]:
    """The reports of an ended job, once there are `count` of them (one per node and restart)."""
    what = f"{count} reports of job {job_id}"
    return job_known(stack, job_id, lambda view: len(view.reports) >= count, what, timeout).reports


def ask_as(user: str, path: Path, fields: Mapping[str, str | int]) -> dict[str, str]:
    """Ask a daemon's unix socket as `user`."""
    return as_user(user, ask, str(path), fields, PATIENCE_S)


def as_user(user: str, function: Callable[..., T], *arguments: object) -> T:
    """Call `function` in a process of `user` and return what it returns or raises."""
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=fork, initializer=become, initargs=(user,)) as pool:
        return pool.submit(function, *arguments).result()


def become(user: str) -> None:
    """Drop root for `user`."""
    uid, gid = accounts.ids(user)
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


def reload_hook(stack: Stack) -> None:
    """Have slurmctld load the hook afresh at the next submission: it forgets what the service did to it."""
    script = stack.layout.job_submit
    later = script.stat().st_mtime + 1
    os.utime(script, (later, later))


def queued(stack: Stack) -> set[str]:
    """The ids of all jobs that Slurm still knows, ended ones too."""
    return set(stack.run(["squeue", "-h", "-t", "all", "-o", "%i"], user="root").stdout.split())


def unchanged_lines(stack: Stack) -> int:
    """How many lines slurmctld's log has about jobs that went in as if we were not installed."""
    return stack.log("slurmctld").count("went in unchanged")

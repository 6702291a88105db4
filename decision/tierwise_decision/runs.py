"""One run of a job that has ended: its values, how they are put together, kept and shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tierwise.messages import Attempt, JobReport
from tierwise.slurm import SlurmJob
from tierwise_decision.tales import SECOND, token_of
from tierwise_policy import signature as signatures
from tierwise_policy.failures import Ending, ending
from tierwise_policy.signature import Signature

Row = dict[str, Any]


class EndedJob(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One run of a job that has ended. Bytes, seconds and nanoseconds; 0 for what nobody knows.

    `asked_memory` is per node, `peak` the largest that the job held on any node (the agents', else accounting's),
    `nodes` how many it had. `hot` is the largest part on any node that took most accesses, where that could be
    trusted. `cpus` are per node. `action` is what we did about it.
    """

    job_id: int
    started: int
    restart: int
    uid: int
    signature: Signature
    token: str = ""
    array: bool = False
    state: str
    cause: str
    failed: bool
    exit_code: int = 0
    exit_signal: int = 0
    asked_memory: int = 0
    peak: int = 0
    hot: int = 0
    seconds: float = 0.0
    time_limit: int = 0
    nodes: int = 1
    node_list: str = ""
    partition: str = ""
    job_name: str = ""
    ended: int = 0
    cpus: int = 0
    action: str = ""

    next_memory: int = 0
    next_seconds: int = 0
    retried: bool = False
    """Whether we requeued it, and what the next attempt asks for, 0: as before."""


class Mended(msgspec.Struct, frozen=True, gc=False):
    """What we did about a run that failed; the fields are those of EndedJob."""

    action: str
    next_memory: int = 0
    next_seconds: int = 0
    retried: bool = False


def changes(mend: Mended | None) -> Row:
    """The fields of a run that say what we did about it."""
    return {} if mend is None else msgspec.structs.asdict(mend)


def kind(job: SlurmJob, script: str) -> Signature:
    """What kind of job it is, by what is known at its end; the same as at its submission."""
    return signatures.signature(
        job.uid,
        script=script,
        job_name=job.name,
        command=job.command,
        partition=job.partition,
        array=bool(job.array_id),
        image=job.image,
    )


def join(job: SlurmJob, signature: Signature | None, reports: Sequence[JobReport], mend: Mended | None) -> EndedJob:
    """A run, put together of what Slurm says, what its agents saw, and what we did about it."""
    how = verdict(job, reports)
    return EndedJob(
        job_id=job.job_id,
        started=job.started,
        restart=job.restarts,
        uid=job.uid,
        signature=signature or kind(job, ""),
        token=next((report.key.token for report in reports), token_of(job.comment)),
        array=bool(job.array_id),
        state=job.state,
        cause=how.cause,
        failed=how.failed,
        exit_code=job.exit_code,
        exit_signal=job.exit_signal,
        asked_memory=job.memory,
        peak=max([report.peak for report in reports], default=job.peak),
        hot=max([report.heat.hot for report in reports if report.heat and report.heat.trusted], default=0),
        seconds=max(job.ended - job.started, 0) / SECOND,
        time_limit=job.time_limit,
        nodes=job.nodes,
        node_list=job.node_list,
        partition=job.partition,
        job_name=job.name[:256],
        ended=job.ended,
        cpus=job.cpus,
        **changes(mend),
    )


def verdict(job: SlurmJob, reports: Sequence[JobReport]) -> Ending:
    """How a run ended, by what Slurm and the agents say."""
    return ending(
        job.state,
        job.reason,
        exit_code=job.exit_code,
        exit_signal=job.exit_signal,
        derived_signal=job.derived_signal,
        oom_kills=sum(report.oom_kills for report in reports),
    )


def attempt(one: EndedJob) -> Attempt:
    """A run as tierctl shows it."""
    return Attempt(
        restart=one.restart,
        state=one.state[:512],
        cause=one.cause,
        exit_code=one.exit_code,
        exit_signal=one.exit_signal,
        memory=one.asked_memory,
        peak=one.peak,
        time_limit=one.time_limit,
        started=one.started,
        ended=one.ended,
        nodes=one.node_list[:512],
        action=one.action[:512],
        cpus=one.cpus,
    )


def to_row(one: EndedJob) -> Row:
    """The row of `ended_jobs`: the signature's keys are columns of their own."""
    row = msgspec.structs.asdict(one)
    keys = msgspec.structs.asdict(row.pop("signature"))
    return row | {f"key_{name}": key for name, key in keys.items()}


def from_row(row: Mapping[str, Any]) -> EndedJob:
    """The way back."""
    own = {name: value for name, value in row.items() if not name.startswith("key_")}
    keys = {name.removeprefix("key_"): value for name, value in row.items() if name.startswith("key_")}
    return EndedJob(signature=Signature(**keys), **own)

"""Ended jobs from slurmdbd, by `sacct -P`: its JSON misreports exit codes in 22.05.

sacct has a line for the job and one for each of its steps; what a job held at most (MaxRSS, a sample of its largest
task) stands with the steps. Names are users' own words: the separator is drawn anew for every question.
"""

import secrets
import time
from collections.abc import Sequence

import msgspec

from tierwise.slurm import SlurmJob
from tierwise_slurm import values
from tierwise_slurm.commands import Run

FIELDS = (
    "JobIDRaw", "JobID", "UID", "State", "ExitCode", "DerivedExitCode", "Partition", "NNodes", "NodeList",
    "ReqMem", "ReqCPUS", "TimelimitRaw", "Submit", "Start", "End", "JobName", "WorkDir", "MaxRSS",
)  # fmt: skip


def ended(run: Run, since: int, fields: tuple[str, ...] = FIELDS) -> Sequence[SlurmJob]:
    """The runs that ended since then (ns), with what their steps held at most. Raises SlurmError."""
    separator = f"x{secrets.token_hex(12)}"
    text = run(
        [
            "sacct", "--allusers", "--noheader", "--parsable2", "--duplicates", f"--delimiter={separator}",
            f"--starttime={_local(since)}", "--endtime=now", f"--format={','.join(fields)}",
            "--state=BF,CA,CD,DL,F,NF,OOM,PR,TO",
        ]
    )  # fmt: skip
    return parse(text, separator, fields)


def _local(moment: int) -> str:
    """Nanoseconds since the epoch as sacct reads a time: in this host's zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment // 1_000_000_000))


def parse(text: str, separator: str, fields: tuple[str, ...] = FIELDS) -> list[SlurmJob]:
    """sacct's answer. A job's steps follow it."""
    found: list[SlurmJob] = []
    for line in text.splitlines():
        parts = line.split(separator)
        if len(parts) != len(fields):
            continue  # a name with a line break: the rest of its record is lost, never another's
        record = dict(zip(fields, parts, strict=True))
        if record["JobIDRaw"].isdigit():
            found.append(_job(record))
        elif found and record["JobIDRaw"].partition(".")[0] == str(found[-1].job_id):
            peak = max(found[-1].peak, values.size(record["MaxRSS"], 1))
            found[-1] = msgspec.structs.replace(found[-1], peak=peak)
    return found


def _job(record: dict[str, str]) -> SlurmJob:
    code, signal = values.exit_code(record["ExitCode"])
    derived_code, derived_signal = values.exit_code(record["DerivedExitCode"])
    nodes = max(values.number(record["NNodes"]), 1)
    cpus = max(-(-values.number(record["ReqCPUS"]) // nodes), 1)
    array, _, task = record["JobID"].partition("_")
    return SlurmJob(
        job_id=int(record["JobIDRaw"]),
        uid=values.number(record["UID"]),
        state=record["State"].partition(" ")[0],  # "CANCELLED by 1000"
        name=record["JobName"],
        array_id=int(array) if task.isdigit() else 0,
        array_task=int(task) if task.isdigit() else None,
        restarts=values.number(record.get("Restarts", "")),
        exit_code=code,
        exit_signal=signal,
        derived_code=derived_code,
        derived_signal=derived_signal,
        partition=record["Partition"],
        nodes=nodes,
        node_list=record["NodeList"],
        memory=values.size(record["ReqMem"]) // nodes,  # the whole job's, from 21.08 on
        cpus=cpus,
        time_limit=values.number(record["TimelimitRaw"]) * 60,
        submitted=values.moment(record["Submit"]),
        started=values.moment(record["Start"]),
        ended=values.moment(record["End"]),
        work_dir=record["WorkDir"],
    )

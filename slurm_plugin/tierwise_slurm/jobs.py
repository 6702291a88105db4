"""A job as squeue tells it. Names, comments and paths are their users' own words, so fields are not parted by anything
that a user could write: each ends with a separator that is drawn anew for every question.
"""

import re
import secrets

from tierwise.slurm import SlurmJob
from tierwise_slurm import values
from tierwise_slurm.commands import Run

_TEXTS = {
    "Reason": 64, "Partition": 64, "NodeList": 512, "tres-alloc": 256, "tres-per-node": 256, "Name": 256,
    "Comment": 1100, "Command": 512, "WorkDir": 512, "Container": 512,
}  # fmt: skip
"""How long these may be: squeue pads and cuts. A token stands at the end of a comment of at most 1024."""
_WIDTH = 24
FIELDS = (
    "JobID", "ArrayJobID", "ArrayTaskID", "UserID", "State", "Reason", "exit_code", "DerivedEC", "RestartCnt",
    "Requeue", "BatchFlag", "Partition", "NumNodes", "NumCPUs", "NodeList", "MinMemory", "tres-alloc", "tres-per-node",
    "TimeLimit", "SubmitTime", "StartTime", "EndTime", "Name", "Comment", "Command", "WorkDir", "Container",
)  # fmt: skip
"""squeue(1), --Format. The same names in 22.05, 24.11 and 26.05."""


def ask(run: Run, target: str, fields: tuple[str, ...] = FIELDS) -> list[dict[str, str]]:
    """The records that squeue has for a job: for the bare id of an array's job, all of its tasks. Raises SlurmError."""
    separator = f"x{secrets.token_hex(12)}"
    wanted = ",".join(f"{field}:{_TEXTS.get(field, _WIDTH)}{separator}" for field in fields)
    text = run(["squeue", "--noheader", "--states=all", f"--jobs={target}", f"--Format={wanted}"])
    return records(text, separator, fields)


def records(text: str, separator: str, fields: tuple[str, ...] = FIELDS) -> list[dict[str, str]]:
    """squeue's answer as one dictionary for each job."""
    parts = [part.strip() for part in text.split(separator)[:-1]]
    starts = range(0, len(parts) - len(fields) + 1, len(fields))
    return [dict(zip(fields, parts[start : start + len(fields)], strict=True)) for start in starts]


def job(record: dict[str, str]) -> SlurmJob:
    """One record as the library's value."""
    nodes = max(values.number(record["NumNodes"]), 1)
    cpus = max(-(-values.number(record["NumCPUs"]) // nodes), 1)
    memory = values.size(record["MinMemory"])
    per_cpu = cpus > 1 and memory * cpus * nodes == _all_memory(record["tres-alloc"])
    code, signal = values.exit_code(record["exit_code"])
    derived_code, derived_signal = values.exit_code(record["DerivedEC"])
    task = record["ArrayTaskID"]
    return SlurmJob(
        job_id=values.number(record["JobID"]),
        uid=values.number(record["UserID"]),
        state=record["State"],
        reason=record["Reason"],
        name=record["Name"],
        array_id=values.number(record["ArrayJobID"]) if task.isdigit() else 0,
        array_task=int(task) if task.isdigit() else None,
        restarts=values.number(record["RestartCnt"]),
        requeue=record["Requeue"] == "1",
        batch=record["BatchFlag"] == "1",
        exit_code=code,
        exit_signal=signal,
        derived_code=derived_code,
        derived_signal=derived_signal,
        partition=record["Partition"],
        nodes=nodes,
        node_list=record["NodeList"],
        memory=memory * cpus if per_cpu else memory,
        cpus=cpus,
        per_cpu=per_cpu,
        gres=_none(record["tres-per-node"]),
        time_limit=values.seconds(record["TimeLimit"]),
        submitted=values.moment(record["SubmitTime"]),
        started=values.moment(record["StartTime"]),
        ended=values.moment(record["EndTime"]),
        command=_none(record["Command"]),
        work_dir=record["WorkDir"],
        comment=_none(record["Comment"]),
        image=_none(record["Container"]),
    )


def _all_memory(tres: str) -> int:
    """Bytes over all nodes, of `cpu=2,mem=100M,node=1,billing=2`: what a job asked for says nothing of per what."""
    found = re.search(r"(?:^|,)mem=([^,]*)", tres)
    return values.size(found[1]) if found else 0


def _none(text: str) -> str:
    return "" if text in ("(null)", "N/A") else text

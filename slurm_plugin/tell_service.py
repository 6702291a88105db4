"""Tells the decision service of a job that ends: `tell_service.py ending|ended SOCKET`.

`ending` is EpilogSlurmctld's question, `ended` what jobcomp/script tells, each with the job in its environment
(docs/protocol.md, *ending, ended*). Like tell_agent.py, whose words it speaks, it needs Python's own library alone.
Exits with 0 when the service took the message, else says why on standard error and exits with 1.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))  # pathlib would double our start

from tell_agent import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_S = {"ending": 8.0, "ended": 3.0}
EPILOG = {
    "job_id": b"SLURM_JOB_ID", "array_job": b"SLURM_ARRAY_JOB_ID", "array_task": b"SLURM_ARRAY_TASK_ID",
    "node_list": b"SLURM_JOB_NODELIST",  # squeue may not show it any more
}  # fmt: skip
JOBCOMP = {
    "job_id": b"JOBID", "uid": b"UID", "state": b"JOBSTATE", "started": b"START", "ended": b"END", "nodes": b"NODECNT",
    "node_list": b"NODES", "partition": b"PARTITION", "job_name": b"JOBNAME",
    "array_job": b"ARRAYJOBID", "array_task": b"ARRAYTASKID",
}  # fmt: skip


def fields(operation: str, environment: Mapping[bytes, bytes]) -> list[tuple[str, bytes]]:
    """The message about this job, from what slurmctld has put into the environment."""
    told = [("op", operation.encode())]
    if operation == "ending":
        return [*told, *((key, environment.get(name, b"")) for key, name in EPILOG.items())]
    told += [(key, environment.get(name, b"")) for key, name in JOBCOMP.items()]
    code, _, signal = environment.get(b"EXITCODE", b"0:0").partition(b":")
    return [*told, ("exit_code", code or b"0"), ("exit_signal", signal or b"0")]


def main(operation: str, path: str) -> str:
    return tell(path, fields(operation, os.environb), PATIENCE_S[operation])


if __name__ == "__main__":
    if wrong := main(*sys.argv[1:]):
        sys.exit(f"tierwise: {sys.argv[1]}: {wrong}")

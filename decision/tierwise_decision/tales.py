"""What slurmctld's scripts tell of a job that ends (docs/protocol.md, *ending, ended*)."""

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from tierwise.errors import ProtocolError
from tierwise.messages import Count
from tierwise.slurm import SlurmJob

SECOND = 1_000_000_000
_NO_TASK = 0xFFFFFFFE
"""Slurm's NO_VAL."""
_TOKEN = re.compile(r"(?:^|\s)tierwise=([0-9a-f]{16})$")


class Tale(msgspec.Struct, frozen=True, kw_only=True):
    """What jobcomp/script tells of a run. Times are seconds."""

    job_id: Count
    uid: Count
    state: Annotated[str, Meta(max_length=32)]
    started: Annotated[int, Meta(ge=0, lt=1 << 33)]
    ended: Annotated[int, Meta(ge=0, lt=1 << 33)]
    exit_code: Count = 0
    exit_signal: Count = 0
    nodes: Count = 1
    node_list: str = ""
    partition: str = ""
    job_name: str = ""

    def job(self) -> SlurmJob:
        """The run, where Slurm itself has forgotten it."""
        return SlurmJob(
            job_id=self.job_id,
            uid=self.uid,
            state=self.state,
            name=self.job_name,
            exit_code=self.exit_code,
            exit_signal=self.exit_signal,
            partition=self.partition,
            nodes=self.nodes,
            cpus=0,  # it does not tell
            node_list=self.node_list,
            started=self.started * SECOND,
            ended=self.ended * SECOND,
        )


def parse_tale(fields: Mapping[str, str]) -> Tale:
    """Check a message's fields. Raises ProtocolError."""
    try:
        return msgspec.convert(fields, Tale, strict=False)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"not the end of a job: {error}") from None


def target_of(fields: Mapping[str, str]) -> str:
    """How Slurm names an array's task that one of its scripts tells of; empty for other jobs."""
    array, task = fields.get("array_job", ""), fields.get("array_task", "")
    known = array.isdigit() and task.isdigit() and int(array) > 0 and int(task) < _NO_TASK
    return f"{array}_{task}" if known else ""


def token_of(comment: str) -> str:
    """The token at the end of a comment that our hook wrote (slurm_plugin/tierwise_hook/comment.lua)."""
    found = _TOKEN.search(comment)
    return found[1] if found else ""

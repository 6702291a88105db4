"""What a job asked for at its submission, known by its token."""

import os

import msgspec


class Requested(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a job asked for, and what the hook was answered. The fields are those of the table `requests`."""

    token: str
    time: int
    uid: int
    directive: str
    memory: int
    memory_from: str
    whole_node: bool
    partition: str
    nodes: int
    launch: str
    job_name: str
    account: str
    gres: str
    notice: str
    claimed: int | None = None
    retry: int = 0
    cpus: int = 0
    net: int = 0
    latency_ns: int = 0


def new_token() -> str:
    """A token that nobody can guess: no database has to be asked whether it is new."""
    return os.urandom(8).hex()

"""Batch scripts by pyslurm, where it imports: it is built for one Slurm release, and refuses every other.

It is asked for nothing else: its Job.load has only the first record of an array, and its requeue takes the bare id,
which for one task of an array may mean all of them. Slurm's own commands tell tasks apart.
"""

from collections.abc import Callable
from importlib import import_module

Fetch = Callable[[int], str]


def fetch_by_pyslurm() -> Fetch | None:
    """How to fetch a job's script by pyslurm; None where that doesn't import."""
    try:
        pyslurm = import_module("pyslurm")
    except Exception:  # ImportError, or whatever its C library says of another release
        return None

    def fetch(job_id: int) -> str:
        script: str = pyslurm.Job(job_id).get_batch_script()
        return script

    return fetch

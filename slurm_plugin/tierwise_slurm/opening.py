"""Opening the client: the entry point `tierwise.slurm`."""

import contextlib

from tierwise.slurm import Slurm, SlurmError
from tierwise_slurm.client import Client
from tierwise_slurm.commands import Commands, Run
from tierwise_slurm.releases import adapter
from tierwise_slurm.scripts import fetch_by_pyslurm


def open_client(slurm_conf: str) -> Slurm:
    """The client for the Slurm that is installed here. Without any it still exists: each question raises SlurmError."""
    return of(Commands(slurm_conf))


def of(run: Run) -> Client:
    """The adapter of the release that `run` runs."""
    version = _version(run)
    return adapter(version)(run, version, fetch_by_pyslurm())


def _version(run: Run) -> str:
    """`22.05.8`; empty where nobody says it. slurmctld says it without its slurm.conf; every other program looks for a
    minute for one that it can't reach."""
    for argv in (["slurmctld", "-V"], ["sinfo", "--version"]):
        with contextlib.suppress(SlurmError, IndexError):
            return run(argv).split()[-1]  # "slurm-wlm 22.05.8"
    return ""

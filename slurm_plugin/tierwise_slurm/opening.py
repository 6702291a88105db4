"""Opening the client: the entry point `tierwise.slurm`."""

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
    try:
        version = run(["sinfo", "--version"]).split()[-1]  # "slurm-wlm 22.05.8"
    except (SlurmError, IndexError):
        version = ""
    return adapter(version)(run, version, fetch_by_pyslurm())

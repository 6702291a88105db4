"""One adapter for each release of Slurm that was seen, with what is different in it; tests/slurm has their words,
recorded from the real thing (tests/slurm/record.py)."""

from tierwise_slurm import accounting
from tierwise_slurm.client import Client


class Slurm2205(Client):
    """22.05.8. sacct knows no Restarts. `scontrol --json` is missing, `sacct --json` misreports exit codes. GRES are
    written `gres:tier_dram:40`. A job that is COMPLETING shows no other state: its reason and exit code tell."""


class Slurm2411(Client):
    """24.11.5. sacct knows Restarts. GRES are written `gres/tier_dram:40`; both ways are understood. Requeued from
    EpilogSlurmctld, jobs and array tasks keep their dependents and take a larger memory, as in 22.05."""

    account_fields = (*accounting.FIELDS, "Restarts")


class Slurm2605(Slurm2411):
    """26.05.5. A job whose hook raises an error is rejected. cgroup/v1 is gone."""


RELEASES: tuple[tuple[tuple[int, int], type[Client]], ...] = (
    ((26, 5), Slurm2605),
    ((24, 11), Slurm2411),
    ((22, 5), Slurm2205),
)
"""Newest first: a release that has no adapter of its own takes that of the release before it."""


def adapter(version: str) -> type[Client]:
    """The adapter for `22.05.8`."""
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return next((kind for release, kind in RELEASES if parts >= release), Slurm2205)

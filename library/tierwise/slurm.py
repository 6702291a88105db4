"""Slurm as our daemons see it: a job's values, and what a client of any release can be asked and told.

The client itself lies in slurm_plugin/tierwise_slurm. The service finds it by its entry point (group `tierwise.slurm`),
so that neither imports the other, and does without where there is none. Sizes are bytes, times nanoseconds.
"""

import logging
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Protocol

import msgspec

from tierwise.config import Config
from tierwise.errors import TierwiseError

log = logging.getLogger(__name__)
GROUP = "tierwise.slurm"


class SlurmError(TierwiseError):
    """Slurm could not be asked, or did not do what it was told. `str` says what was tried."""


class SlurmJob(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One job as Slurm has it. `state` is Slurm's word (`OUT_OF_MEMORY`), COMPLETING and its like included; `reason`
    is Slurm's, too (`OutOfMemory`). What a release does not say is empty or 0.
    """

    job_id: int
    uid: int
    state: str
    reason: str = ""
    name: str = ""
    array_id: int = 0
    array_task: int | None = None
    restarts: int = 0
    requeue: bool = False
    """Whether its user, or the site, lets it be requeued."""
    batch: bool = True
    exit_code: int = 0
    exit_signal: int = 0
    derived_code: int = 0
    """The highest exit code of its steps, and the signal that goes with it."""
    derived_signal: int = 0
    partition: str = ""
    nodes: int = 1
    node_list: str = ""
    memory: int = 0
    """Bytes per node as the user asked; 0: all of the node, or unknown."""
    """Of a job that asked per CPU: for all its CPUs on one node."""
    cpus: int = 1
    """On each node, rounded up."""
    per_cpu: bool = False
    gres: str = ""
    time_limit: int = 0
    """Seconds; 0: none."""
    submitted: int = 0
    started: int = 0
    ended: int = 0
    command: str = ""
    work_dir: str = ""
    comment: str = ""
    image: str = ""
    peak: int = 0
    """The largest resident size of a task that accounting sampled; 0: no accounting."""

    @property
    def target(self) -> str:
        """How Slurm's commands name this job alone: the bare id of an array's job may mean all of its tasks."""
        return str(self.job_id) if self.array_task is None else f"{self.array_id}_{self.array_task}"


class Capacity(msgspec.Struct, frozen=True, gc=False):
    """What a partition lets a job have: so many nodes with so many bytes and CPUs each; bytes per node and seconds that
    its limits allow, 0 for no limit."""

    nodes: tuple[tuple[int, int, int], ...]
    most_memory: int = 0
    time_limit: int = 0

    def largest(self, nodes: int, cpus: int = 1) -> int:
        """The bytes that a job may have on each of `nodes` nodes with so many CPUs; 0 where there are too few."""
        found = 0
        for count, size, has_cpus in sorted(self.nodes, key=lambda group: -group[1]):
            found += count if has_cpus >= cpus else 0
            if found >= nodes:
                return min(size, self.most_memory or size)
        return 0


class Slurm(Protocol):
    """A client. Every method may take some milliseconds (call it in a thread) and raises SlurmError."""

    def version(self) -> str:
        """`22.05.8`."""

    def job(self, job_id: int, target: str = "") -> SlurmJob | None:
        """A job that slurmctld still knows; None when it does not. `target` spares looking at all tasks of an array."""

    def jobs(self, ids: Sequence[int]) -> Sequence[SlurmJob]:
        """The jobs of these ids, of many at once: who needs one asks for that one. What slurmctld has forgotten is left
        out."""

    def script(self, job_id: int) -> str:
        """The batch script's text; empty where there is none."""

    def capacity(self, partition: str) -> Capacity:
        """What a partition's nodes have and its limits allow."""

    def requeue(self, job: SlurmJob) -> None:
        """Have a job run again that ends now; its dependents go on waiting only while it is not final yet."""

    def update(self, job: SlurmJob, *, memory: int = 0, seconds: int = 0, gres: str = "", now: bool = False) -> None:
        """Change a pending job: bytes per node, time limit, GRES; `now`: let it start as soon as it can."""

    def accounted(self) -> bool:
        """Whether a slurmdbd keeps ended jobs."""

    def ended(self, since: int) -> Sequence[SlurmJob]:
        """The attempts that ended since then, from accounting."""


def open_client(config: Config) -> Slurm | None:
    """The installed client, None where there is none (slurm_plugin's Python is not installed)."""
    for point in entry_points(group=GROUP):
        client: Slurm = point.load()(config.slurm_conf)
        return client
    log.info("no Slurm client is installed: jobs are not requeued, and their ends are not known")
    return None

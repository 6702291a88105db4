"""Slurm's nodes and its pending jobs, as the decision service looks at them and changes them.

The client lies in slurm_plugin/tierwise_slurm; the service finds it by its entry point (group `tierwise.slurm_nodes`),
and does without where there is none: no weights are published then, and no exclusion is refreshed.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Protocol

import msgspec

from tierwise.config import Config

GROUP = "tierwise.slurm_nodes"


class SlurmNode(msgspec.Struct, frozen=True):
    """A node of slurm.conf: its weight now, and the partitions that it is in."""

    weight: int
    partitions: tuple[str, ...]
    usable: bool = True
    """Whether jobs can run there now or later: it is neither down nor drained."""


class PendingJob(msgspec.Struct, frozen=True):
    """A job that waits. `target` is how Slurm's commands name it, `excluded` its list of excluded nodes as Slurm writes
    it (`n[1-3]`), empty without one; `narrowed`: the user chose among the nodes by name, feature or reservation."""

    target: str
    comment: str
    excluded: str
    partition: str
    nodes: int
    narrowed: bool = False


class SlurmNodes(Protocol):
    """A client. Every method may take some milliseconds (call it in a thread) and raises SlurmError."""

    def nodes(self) -> Mapping[str, SlurmNode]:
        """All nodes by name."""

    def set_weight(self, names: Sequence[str], weight: int) -> None:
        """Give some nodes a weight, in one update."""

    def pending(self) -> Sequence[PendingJob]:
        """The jobs that wait for nodes and carry one of our tokens."""

    def exclude(self, job: PendingJob, names: Sequence[str]) -> None:
        """Change the nodes that a pending job must not get; none: it may have any."""


def open_nodes(config: Config) -> SlurmNodes | None:
    """The installed client; None where there is none."""
    for point in entry_points(group=GROUP):
        client: SlurmNodes = point.load()(config.slurm_conf)
        return client
    return None

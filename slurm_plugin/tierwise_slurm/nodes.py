"""tierwise.slurmnodes.SlurmNodes by Slurm's own commands. What they print is the same from 22.05 to 26.05."""

from collections.abc import Mapping, Sequence

from tierwise.slurmnodes import PendingJob, SlurmNode
from tierwise_slurm.commands import Commands, Run

_SEPARATOR = "\x1f"
_MOST_NAMES = 4000
"""Nodes in one command: a command line has its limits (execve(2): 128 KiB an argument)."""


class NodeCommands:
    """sinfo, squeue and scontrol of the Slurm that `slurm_conf` describes."""

    def __init__(self, slurm_conf: str = "", run: Run | None = None) -> None:
        self._run = run or Commands(slurm_conf)

    def nodes(self) -> Mapping[str, SlurmNode]:
        """See SlurmNodes. sinfo prints a line for each partition that a node is in."""
        found: dict[str, SlurmNode] = {}
        for line in self._run(["sinfo", "-a", "-h", "-N", "-o", "%N %R %w"]).splitlines():
            name, partition, weight = line.split()
            before = found.get(name)
            found[name] = SlurmNode(int(weight), (*(before.partitions if before else ()), partition))
        return found

    def set_weight(self, names: Sequence[str], weight: int) -> None:
        """See SlurmNodes."""
        for start in range(0, len(names), _MOST_NAMES):
            some = ",".join(names[start : start + _MOST_NAMES])
            self._run(["scontrol", "update", f"NodeName={some}", f"Weight={weight}"])

    def pending(self) -> Sequence[PendingJob]:
        """See SlurmNodes."""
        columns = _SEPARATOR.join(("%i", "%x", "%P", "%D", "%k"))
        lines = self._run(["squeue", "-a", "-h", "-t", "PD", "-o", columns]).splitlines()
        rows = (line.split(_SEPARATOR) for line in lines)
        return [
            PendingJob(target, comment, "" if excluded == "(null)" else excluded, partition, _number(nodes))
            for target, excluded, partition, nodes, comment in (row for row in rows if len(row) == 5)
            if "tierwise=" in comment
        ]

    def exclude(self, job: PendingJob, names: Sequence[str]) -> None:
        """See SlurmNodes."""
        self._run(["scontrol", "update", f"JobId={job.target}", f"ExcNodeList={','.join(names)}"])


def _number(text: str) -> int:
    """A count of nodes; squeue may print `1-4` for a job that takes what it gets: the least."""
    digits = text.partition("-")[0]
    return int(digits) if digits.isdigit() else 1

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
        for line in self._run(["sinfo", "-a", "-h", "-N", "-o", "%N %R %w %t"]).splitlines():
            name, partition, weight, state = line.split()
            before = found.get(name)
            found[name] = SlurmNode(int(weight), (*(before.partitions if before else ()), partition), _usable(state))
        return found

    def set_weight(self, names: Sequence[str], weight: int) -> None:
        """See SlurmNodes."""
        for start in range(0, len(names), _MOST_NAMES):
            some = ",".join(names[start : start + _MOST_NAMES])
            self._run(["scontrol", "update", f"NodeName={some}", f"Weight={weight}"])

    def pending(self) -> Sequence[PendingJob]:
        """See SlurmNodes."""
        columns = _SEPARATOR.join(("%A", "%x", "%P", "%D", "%n", "%f", "%v", "%k"))
        lines = self._run(["squeue", "-a", "-h", "-t", "PD", "-o", columns]).splitlines()
        rows = (line.split(_SEPARATOR) for line in lines)
        return [
            PendingJob(target, comment, _said(excluded), partition, _number(nodes), any(map(_said, narrowing)))
            for target, excluded, partition, nodes, *narrowing, comment in (row for row in rows if len(row) == 8)
            if "tierwise=" in comment
        ]

    def exclude(self, job: PendingJob, names: Sequence[str]) -> None:
        """See SlurmNodes."""
        self._run(["scontrol", "update", f"JobId={job.target}", f"ExcNodeList={','.join(names)}"])


def _said(text: str) -> str:
    """What was said; squeue has a word for nothing."""
    return "" if text in ("(null)", "N/A") else text


def _usable(state: str) -> bool:
    """sinfo's short state; `*` and its like say more of it."""
    return not state.startswith(("down", "drain", "drng", "fail", "maint", "unk", "inval"))


def _number(text: str) -> int:
    """A count of nodes; squeue may print `1-4` for a job that takes what it gets: the least."""
    digits = text.partition("-")[0]
    return int(digits) if digits.isdigit() else 1

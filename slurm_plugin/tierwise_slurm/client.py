"""tierwise.slurm.Slurm by Slurm's own commands. What differs between releases is in releases.py."""

import contextlib
import re
from collections.abc import Sequence

from tierwise.slurm import Capacity, SlurmJob
from tierwise_slurm import accounting, jobs, values
from tierwise_slurm.commands import Run
from tierwise_slurm.scripts import Fetch

MIB = values.MIB
_MAX_MEMORY = re.compile(r"\bMaxMemPerNode=(\d+)\b")
_SLURMDBD = re.compile(r"^AccountingStorageType\s*=\s*accounting_storage/slurmdbd\s*$", re.MULTILINE)


class Client:
    """What all releases from 22.05 on have in common."""

    job_fields: tuple[str, ...] = jobs.FIELDS
    """The fields that squeue of this release is asked for."""
    account_fields: tuple[str, ...] = accounting.FIELDS
    """The same of sacct."""

    def __init__(self, run: Run, version: str, fetch: Fetch | None = None) -> None:
        self._run = run
        self._fetch = fetch
        self._version = version

    def version(self) -> str:
        """See Slurm."""
        return self._version

    def job(self, job_id: int, target: str = "") -> SlurmJob | None:
        """See Slurm. squeue fails for an id that it does not know; whether it is there at all, any other call says."""
        found = (jobs.job(record) for record in jobs.ask(self._run, target or str(job_id), self.job_fields))
        return next((job for job in found if job.job_id == job_id), None)

    def jobs(self, ids: Sequence[int]) -> Sequence[SlurmJob]:
        """See Slurm. About a single id that it does not know squeue fails, about two it does not."""
        wanted = set(ids)
        target = ",".join(map(str, ids if len(ids) > 1 else (*ids, *ids)))
        found = (jobs.job(record) for record in jobs.ask(self._run, target, self.job_fields))
        return [job for job in found if job.job_id in wanted]

    def script(self, job_id: int) -> str:
        """See Slurm."""
        if self._fetch:
            with contextlib.suppress(Exception):  # pyslurm's, of no common kind: the command says it in words
                return self._fetch(job_id)
        return self._run(["scontrol", "write", "batch_script", str(job_id), "-"])

    def capacity(self, partition: str) -> Capacity:
        """See Slurm."""
        text = self._run(["sinfo", "--noheader", "--exact", f"--partition={partition}", "--format=%D|%m|%c|%l"])
        rows = [line.strip().split("|") for line in text.splitlines()]
        nodes = tuple((values.number(row[0]), values.number(row[1]) * MIB, values.number(row[2])) for row in rows)
        limit = _MAX_MEMORY.search(self._run(["scontrol", "show", "partition", partition]))
        most_memory = int(limit[1]) * MIB if limit else 0
        return Capacity(nodes, most_memory, max((values.seconds(row[3]) for row in rows), default=0))

    def requeue(self, job: SlurmJob) -> None:
        """See Slurm."""
        self._run(["scontrol", "requeue", job.target])

    def update(self, job: SlurmJob, *, memory: int = 0, seconds: int = 0, gres: str = "", now: bool = False) -> None:
        """See Slurm."""
        changes = []
        if memory and job.per_cpu:
            changes.append(f"MinMemoryCPU={memory // job.cpus // MIB}")
        elif memory:
            changes.append(f"MinMemoryNode={memory // MIB}")
        if seconds:
            changes.append(f"TimeLimit={-(-seconds // 60)}")
        if gres:
            changes.append(f"Gres={gres}")
        if now:
            changes.append("StartTime=now")
        if changes:
            self._run(["scontrol", "update", f"JobId={job.target}", *changes])

    def accounted(self) -> bool:
        """See Slurm."""
        text = self._run(["scontrol", "show", "config"])
        return _SLURMDBD.search(text) is not None

    def ended(self, since: int) -> Sequence[SlurmJob]:
        """See Slurm."""
        return accounting.ended(self._run, since, self.account_fields)

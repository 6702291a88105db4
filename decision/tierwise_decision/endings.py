"""Jobs that ended and need no answer: EpilogSlurmctld only lists them in a file, and Slurm is asked about many at once.

The file lies beside the hook's socket: a line a run, `JOB_ID RESTARTS NODES`. It is set aside in one round and read in
the next, so that who is just writing into it can finish, and mostly the jobs are final by then.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tierwise.slurm import Slurm, SlurmError
from tierwise_decision.complaints import Complaints
from tierwise_decision.history import History

EVERY = 2.0
PATIENCE = 300.0
"""Seconds until runs are given up about which Slurm says nothing: by then it has forgotten them."""
MOST_BYTES = 1 << 20
AT_ONCE = 500
_RUN = re.compile(rb"(\d{1,18}) (\d{1,9}) (\S{0,4096})")
_OVER = ("PENDING", "RUNNING", "SUSPENDED", "REQUEUED", "CONFIGURING")
"""What a job says that has been requeued since: that run is gone."""


class Listed(msgspec.Struct, frozen=True):
    """One run that ended: how often its job had been requeued, its nodes, and when we first read of it."""

    restarts: int
    node_list: str
    since: float


class Endings:
    """Reads the list and tells the history, as long as the service runs."""

    def __init__(self, slurm: Slurm | None, history: History, complain: Complaints, file: Path) -> None:
        self._slurm, self._history, self._complain = slurm, history, complain
        self._file, self._aside = file, file.with_name(f"{file.name}.taken")
        self._waiting: dict[int, Listed] = {}
        """Runs by job id that Slurm has not been asked about, or that were not final yet."""

    async def run(self) -> None:
        """Every few seconds."""
        while self._slurm:
            try:
                self._waiting |= await asyncio.to_thread(self._take)
                await self._tell(self._slurm)
            except (SlurmError, OSError) as error:
                self._complain("ending", f"could not follow {self._file}: {error}")
            await asyncio.sleep(EVERY)

    def _take(self) -> dict[int, Listed]:
        """What was set aside in the last round; then the file is. Raises OSError."""
        found = {}
        if self._aside.exists():
            with self._aside.open("rb") as file:
                file.seek(max(self._aside.stat().st_size - MOST_BYTES, 0))
                for line in file.read().splitlines():
                    if match := _RUN.fullmatch(line):
                        found[int(match[1])] = Listed(
                            int(match[2]), match[3].decode(errors="replace"), time.monotonic()
                        )
            self._aside.unlink()
        if self._file.exists():
            self._file.rename(self._aside)
        return found

    async def _tell(self, slurm: Slurm) -> None:
        """Raises SlurmError: asked again in the next round."""
        old = time.monotonic() - PATIENCE
        self._waiting = {job_id: one for job_id, one in self._waiting.items() if one.since > old}
        while asked := dict(list(self._waiting.items())[:AT_ONCE]):
            left = await self._tell_some(slurm, asked)
            self._waiting = {job_id: one for job_id, one in self._waiting.items() if job_id not in asked} | left
            if left:
                return

    async def _tell_some(self, slurm: Slurm, asked: Mapping[int, Listed]) -> dict[int, Listed]:
        """Tell of these runs; those that are not final yet."""
        left = {}
        for job in await asyncio.to_thread(slurm.jobs, tuple(asked)):
            one = asked[job.job_id]
            if job.state == "COMPLETING":
                left[job.job_id] = one
            elif job.restarts == one.restarts and job.state not in _OVER:
                self._history.ended(msgspec.structs.replace(job, node_list=job.node_list or one.node_list))
                await asyncio.sleep(0)
        return left

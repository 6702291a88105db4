"""Hard pins: the kernel is kept off a job's memory by memory.min (Documentation/admin-guide/cgroup-v2.rst).

It protects a cgroup only as far as all of its ancestors do, and only while the use is below it. So a pin is hard where
the whole memory of the job is LAT or SHL and can be covered, on every ancestor; all others are soft: what the kernel
takes of them is counted and brought back. It protects a job's page cache, too, cold or not: where that is large, a hard
pin would cost the others more of the fast tier than it is worth. What ancestors had before is kept in a file, and given
back at the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from tierwise_node import state_file
from tierwise_node.cgroups import MOUNT, Usage
from tierwise_node.record import JobRecord

log = logging.getLogger(__name__)
NAME = "memory.min"
MOST = 0.5
"""The part of the fastest tier that may be protected: what is protected can only be killed, never reclaimed."""
CACHE = 0.25
"""Page cache that is protected with a pinned part, at most, as a part of it."""


class HardPins:
    """Keeps memory.min of jobs and of their ancestors. `state` is a file that outlives the agent."""

    def __init__(self, state: Path, mount: Path = MOUNT) -> None:
        self._state, self._mount = state, mount
        self._before = self._read()
        self._covered: set[int] = set()
        self._inherited = bool(self._before)
        """An agent before was killed: which jobs it covered is not known, so all are looked at once."""
        self._told = False

    def keep(
        self, folders: Mapping[int, Path], records: Iterable[JobRecord], usages: Mapping[int, Usage], capacity: int
    ) -> None:
        """Cover what should be, and no more. `folders`: cgroups (v2) by job; `capacity`: bytes of the fastest tier."""
        left, wanted = int(capacity * MOST), {}
        for record in sorted(records, key=lambda record: record.started):
            usage = usages.get(record.key.job_id)
            size = coverable(record, usage) if usage and record.key.job_id in folders else 0
            if 0 < size <= left:
                wanted[record.key.job_id] = size
                left -= size
        if not wanted and not self._covered and not self._before:
            return
        ancestors = {parent for job_id in wanted for parent in self._ancestors(folders[job_id])}
        done = all([self._raise(ancestor, folders, wanted) for ancestor in sorted(ancestors)])
        bare = set(folders) if self._inherited else self._covered & folders.keys()
        for record in records:
            job_id = record.key.job_id
            size = wanted.get(job_id, 0) if done else 0
            record.pin_is_hard = bool(size) and _cover(folders[job_id], size)
            if record.pin_is_hard:
                bare.discard(job_id)
        for job_id in bare:
            _cover(folders[job_id], 0)
        self._covered, self._inherited = set(wanted), False
        self._give_back(except_=ancestors)

    def stop(self) -> None:
        """Give ancestors back what they had. The jobs' own cgroups keep theirs: without ancestors it means nothing."""
        self._give_back(except_=())

    def _ancestors(self, folder: Path) -> list[Path]:
        """The cgroups above a job's, without the root, which has no limits."""
        return [parent for parent in folder.parents if self._mount in parent.parents]

    def _raise(self, ancestor: Path, folders: Mapping[int, Path], wanted: Mapping[int, int]) -> bool:
        """An ancestor covers what it did before, and all jobs below it."""
        before = self._before.get(str(ancestor))
        if before is None:
            before = _number(ancestor)
            if before is None:
                return False
            self._before[str(ancestor)] = before
            self._write_state()
        below = sum(size for job_id, size in wanted.items() if ancestor in folders[job_id].parents)
        return self._tell(ancestor, _write(ancestor, before + below))

    def _give_back(self, except_: Iterable[Path]) -> None:
        kept = {str(ancestor) for ancestor in except_}
        for ancestor in [ancestor for ancestor in self._before if ancestor not in kept]:
            _write(Path(ancestor), self._before.pop(ancestor))
            self._write_state()

    def _tell(self, folder: Path, error: OSError | None) -> bool:
        if error is not None and not self._told:
            self._told = True
            log.warning("pins stay soft: could not write %s: %s", folder / NAME, error.strerror)
        return error is None

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.DecodeError):
            return {}

    def _write_state(self) -> None:
        with contextlib.suppress(OSError):  # without a disk a killed agent's ancestors keep their protection
            state_file.replace(self._state, self._before)  # half a file would make ours what they had before


def coverable(record: JobRecord, usage: Usage) -> int:
    """Bytes that cover all that a job may use, where all of it is LAT or SHL, some of it is pinned, and its page cache
    is small; else 0."""
    plan = record.plan
    if plan is None or not record.pinned or any(part.memory_class not in ("LAT", "SHL") for part in plan.parts):
        return 0
    own = sum(usage.nodes.values())
    if usage.used - own > CACHE * min(own, record.pinned):
        return 0
    return max(record.memory, plan.size)


def _cover(job: Path, size: int) -> bool:
    """memory.min of a job's cgroup and of all below it: each may hold all of the job's memory."""
    places = [Path(place) for place, _, _ in os.walk(job)]
    results = [_write(place, size) for place in places if (place / NAME).exists()]
    return bool(results) and not any(results)


def _write(folder: Path, size: int) -> OSError | None:
    try:
        if _number(folder) != size:
            (folder / NAME).write_text(str(size))
    except OSError as error:
        return error
    return None


def _number(folder: Path) -> int | None:
    try:
        text = (folder / NAME).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None

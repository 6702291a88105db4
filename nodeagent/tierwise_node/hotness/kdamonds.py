"""DAMON's kernel threads as sysfs has them (Documentation/admin-guide/mm/damon/usage.rst): taken, run and given back.

sysfs has no owners: whoever writes nr_kdamonds has them all, and it can't be changed while one runs. So we take them
only where there are none, write down which processes each will look at before it is switched on, and at the next
start switch off what we find running exactly so; for anything else we stand back.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tierwise_node import state_file
from tierwise_node.kernel_files import read

ADMIN = Path("/sys/kernel/mm/damon/admin")
TRACING = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
EVENT = "events/damon/damon_aggregated"
MODULES = Path("/sys/module")
ALONE = ("damon_stat", "damon_reclaim", "damon_lru_sort")
"""The kernel's own users of DAMON: while one runs, sysfs answers EBUSY. Newer kernels have damon_stat on by default."""
MICRO = 1_000_000


def tracing(places: Sequence[Path] = TRACING) -> Path | None:
    """Where tracefs with DAMON's event is."""
    return next((place for place in places if (place / EVENT / "enable").exists()), None)


class Attributes(msgspec.Struct, frozen=True):
    """How often DAMON looks (seconds), and between how many regions it keeps a process group."""

    sample: float
    samples: int
    """Samples that one aggregation adds up."""
    least_regions: int
    most_regions: int

    @property
    def aggregation(self) -> float:
        """Seconds of one aggregation."""
        return self.sample * self.samples


class _Kept(msgspec.Struct):
    """The journal: of this boot, so many kdamonds are ours, and these look at these processes."""

    boot: str
    count: int
    targets: dict[int, list[int]] = {}


class Kdamonds:
    """A fixed number of kdamonds, each with one context. Used by one thread at a time. Raises OSError."""

    def __init__(self, journal: Path, count: int, admin: Path = ADMIN) -> None:
        self._journal, self._folder, self.count = journal, admin / "kdamonds", count
        self._kept, self._taken = _Kept(_boot_id(), 0), False

    def problem(self) -> str:
        """Why they can't be ours, or not be read; empty: they are, or could be taken."""
        if tracing() is None:
            return "tracefs with damon_aggregated is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
        if not self._folder.is_dir():
            return f"no {self._folder}: the kernel has no DAMON (CONFIG_DAMON_SYSFS)"
        if alone := occupant():
            return f"the kernel's {alone} runs, which leaves DAMON to nobody else"
        there = int(_read(self._folder / "nr_kdamonds"))
        kept = self._kept if self._taken else self._load()
        if there != kept.count and (there or self._taken):
            return f"{there} kdamonds are somebody else's (damo?): we stand back until nr_kdamonds is 0"
        foreign = self._foreign(kept)
        return f"kdamond {foreign[0]} looks at processes that we didn't give it: we stand back" if foreign else ""

    def take(self) -> None:
        """Make them ours, and end those that a killed agent left running. Only without a problem."""
        there = int(_read(self._folder / "nr_kdamonds"))
        for index in range(there):
            self.off(index)
        self._keep(_Kept(_boot_id(), self.count))
        self._taken = True
        if there != self.count:
            (self._folder / "nr_kdamonds").write_text(str(self.count))

    def on(self, index: int, pids: Sequence[int], attributes: Attributes) -> None:
        """Let one look at these processes, from the beginning, on the CPUs that the agent may use: who keeps the agent
        off the jobs' CPUs means what works for it, too. Raises ProcessLookupError when one of them has ended."""
        self.off(index)
        self._kept.targets[index] = list(pids)
        self._keep(self._kept)
        place = self._folder / str(index)
        context = place / "contexts/0"
        (place / "contexts/nr_contexts").write_text("1")
        (context / "operations").write_text("vaddr")
        _write(context / "monitoring_attrs", attributes)
        (context / "targets/nr_targets").write_text(str(len(pids)))
        for number, pid in enumerate(pids):
            (context / f"targets/{number}/pid_target").write_text(str(pid))
        try:
            (place / "state").write_text("on")
        except OSError as error:
            if error.errno == errno.EINVAL:  # how the kernel says that a pid is nobody's
                raise ProcessLookupError(error.errno, f"processes {pids} could not be watched: one has ended") from None
            raise
        with contextlib.suppress(OSError):  # it has ended already, or we may not
            os.sched_setaffinity(self.running(index), os.sched_getaffinity(0))

    def change(self, index: int, attributes: Attributes) -> None:
        """Let one that runs look as often as this, and keep its regions. Raises OSError when one of its processes has
        ended."""
        place = self._folder / str(index)
        _write(place / "contexts/0/monitoring_attrs", attributes)
        (place / "state").write_text("commit")

    def off(self, index: int) -> None:
        """End one, if it runs."""
        if self.running(index):
            with contextlib.suppress(OSError):  # it has ended by itself meanwhile: its processes have
                (self._folder / str(index) / "state").write_text("off")
        if self._kept.targets.pop(index, None):
            self._keep(self._kept)

    def running(self, index: int) -> int:
        """The pid of a kdamond; 0: it doesn't run. It ends by itself when all its processes have."""
        place = f"{self._folder}/{index}"
        return max(int(_read(f"{place}/pid")), 0) if _read(f"{place}/state") == "on" else 0

    def give_back(self) -> None:
        """End those that are still ours, and leave sysfs as we found it."""
        if not self._taken:
            return
        if _read(self._folder / "nr_kdamonds") == str(self.count):  # else somebody has made others of them
            foreign = self._foreign(self._kept)
            for index in range(self.count):
                if index not in foreign:
                    self.off(index)
            if not foreign:
                with contextlib.suppress(OSError):  # EBUSY: somebody switched one on
                    (self._folder / "nr_kdamonds").write_text("0")
        self._kept, self._taken = _Kept(_boot_id(), 0), False
        self._journal.unlink(missing_ok=True)

    def _foreign(self, kept: _Kept) -> list[int]:
        """Those of ours that run and look at something else than we gave them."""
        running = [index for index in range(kept.count) if self.running(index)]
        return [index for index in running if self._found(index) != kept.targets.get(index)]

    def _found(self, index: int) -> list[int]:
        targets = self._folder / str(index) / "contexts/0/targets"
        return [
            int(_read(targets / f"{number}/pid_target")) for number in range(int(_read(targets / "nr_targets") or 0))
        ]

    def _load(self) -> _Kept:
        try:
            kept = msgspec.json.decode(self._journal.read_bytes(), type=_Kept, strict=False)
        except (OSError, msgspec.DecodeError):
            return _Kept(_boot_id(), 0)
        return kept if kept.boot == _boot_id() else _Kept(_boot_id(), 0)

    def _keep(self, kept: _Kept) -> None:
        self._kept = kept
        state_file.replace(self._journal, kept)


def _write(place: Path, attributes: Attributes) -> None:
    aggregation = int(attributes.aggregation * MICRO)
    for name, value in (
        ("intervals/sample_us", int(attributes.sample * MICRO)),
        ("intervals/aggr_us", aggregation),
        ("intervals/update_us", 2 * aggregation),
        ("nr_regions/max", attributes.most_regions),
        ("nr_regions/min", attributes.least_regions),
    ):
        (place / name).write_text(str(value))


def occupant(modules: Path = MODULES) -> str:
    """Which of ALONE runs; empty: none."""
    return next((name for name in ALONE if _read(modules / name / "parameters/enabled") == "Y"), "")


def _read(path: Path | str) -> str:
    """A file's one word; empty where there is none."""
    try:
        return read(str(path)).strip()
    except OSError:
        return ""


def _boot_id() -> str:
    return _read(Path("/proc/sys/kernel/random/boot_id"))

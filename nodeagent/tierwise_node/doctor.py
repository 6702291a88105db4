"""`tierctl doctor`: every mechanism of the kernel and the host that the agent could use, whether it does, and why not.

Features are tried or looked at, never derived from a version.
"""

import errno
import fcntl
import mmap
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

from tierwise.config import Config
from tierwise.errors import CredentialError
from tierwise.messages import Mechanism
from tierwise.munge import Munge
from tierwise_node import pages
from tierwise_node.below import Below
from tierwise_node.cgroups import Cgroups
from tierwise_node.deliveries import Deliveries
from tierwise_node.hotness.hotness import Hotness
from tierwise_node.hotness.kdamonds import occupant
from tierwise_node.huge_pages import HugePages
from tierwise_node.interleave import InterleaveWeights
from tierwise_node.journal import Journal
from tierwise_node.numa import kernel_demotes
from tierwise_node.page_cache import mechanism as page_cache
from tierwise_node.staging.check import mechanism as staging_and_scratch
from tierwise_node.tiers import Topology

SYS, PROC = Path("/sys"), Path("/proc")
# linux/mempolicy.h
_INTERLEAVE, _PREFERRED, _PREFERRED_MANY, _WEIGHTED_INTERLEAVE = 3, 1, 5, 6
_STATIC_NODES, _NUMA_BALANCING = 1 << 15, 1 << 13
_PAGEMAP_SCAN = 0xC0606610  # linux/fs.h, since 6.7
_FRAME = (1 << 55) - 1  # Documentation/admin-guide/mm/pagemap.rst: zero without CAP_SYS_ADMIN
_SOFT_DIRTY = 1 << 55  # Documentation/admin-guide/mm/soft-dirty.rst: set on pages of a new mapping
LATER = "not used by this version"


class Doctor:
    """Looks at the host now, and asks the agent's parts how they are."""

    def __init__(
        self,
        topology: Topology,
        cgroups: Cgroups,
        weights: InterleaveWeights,
        faults: HugePages,
        journal: Journal,
        deliveries: Deliveries,
        config: Config,
        hotness: Hotness,
        below: Below,
    ) -> None:
        self._hotness, self._below = hotness, below
        self._topology, self._cgroups, self._weights, self._faults = topology, cgroups, weights, faults
        self._journal, self._deliveries, self._config = journal, deliveries, config

    def look(self) -> tuple[Mechanism, ...]:
        """A row for each mechanism. May take seconds where munged does not answer."""
        looks: tuple[Callable[[], Mechanism], ...] = (
            self._cgroup, self._tiering, self._figures, self._preferred_many, self._numa_balancing_flag,
            self._weighted_interleave, self._interleave_weights, self._moves, self._huge_pages, self._huge_page_faults,
            _numa_balancing, _demotion, lambda: page_cache(self._topology), self._below.mechanism, self._movable,
            self._memory_min, self._damon, self._soft_dirty, _pagemap_scan, _pressure, self._munge, self._service,
            self._kept, lambda: staging_and_scratch(self._config.agent.stage.path),
        )  # fmt: skip
        return tuple(look() for look in looks)

    def _cgroup(self) -> Mechanism:
        name, root = "job cgroups", self._cgroups.root
        if not root.is_dir():
            return Mechanism(
                name, "missing", f"v{self._cgroups.version}: {root} does not exist yet",
                "normal before the first job; else set agent.cgroup, and ProctrackType=proctrack/cgroup",
            )  # fmt: skip
        memory = root if self._cgroups.version == 2 else SYS / "fs/cgroup/memory"
        if not (memory / "memory.numa_stat").exists():
            return Mechanism(
                name, "missing", f"v{self._cgroups.version}: {root} has no memory controller: nothing is measured",
                "enable it (cgroup.subtree_control, cgroup_enable=memory) and ConstrainRAMSpace=yes",
            )  # fmt: skip
        return Mechanism(name, "used", f"v{self._cgroups.version}: {root}, memory.numa_stat")

    def _tiering(self) -> Mechanism:
        tiers = sorted(path.name for path in (SYS / "devices/virtual/memory_tiering").glob("memory_tier*"))
        if not tiers:
            return Mechanism("memory tiers", "fallback", "no memory_tiering in sysfs: ranked by distance")
        return Mechanism("memory tiers", "used", f"{', '.join(tiers)}: we have {', '.join(self._topology.order)}")

    def _figures(self) -> Mechanism:
        tiers = self._topology.tiers()
        figures = ", ".join(f"{tier.name} {tier.latency_ns} ns {tier.bandwidth / 1e9:.0f} GB/s" for tier in tiers)
        source = tiers[0].source
        if source == "hmat":
            return Mechanism("HMAT", "used", figures)
        advice = "" if len(tiers) == 1 else "set latency_ns and bandwidth under [agent.tiers.NAME]"
        return Mechanism("HMAT", "fallback", f"{source}: {figures}", "" if source == "configured" else advice)

    def _preferred_many(self) -> Mechanism:
        if self._takes(_PREFERRED_MANY | _STATIC_NODES):
            return Mechanism("MPOL_PREFERRED_MANY", "used", "initial policy of LAT, SHL, CAP and mixed jobs")
        return Mechanism("MPOL_PREFERRED_MANY", "fallback", "MPOL_PREFERRED, one node only (the kernel is before 5.15)")

    def _numa_balancing_flag(self) -> Mechanism:
        if self._takes(_PREFERRED_MANY | _STATIC_NODES | _NUMA_BALANCING):
            return Mechanism("MPOL_F_NUMA_BALANCING", "used", "on LAT's policy: the kernel may promote what it reads")
        return Mechanism("MPOL_F_NUMA_BALANCING", "missing", "not taken with MPOL_PREFERRED_MANY: LAT goes without it")

    def _weighted_interleave(self) -> Mechanism:
        if self._takes(_WEIGHTED_INTERLEAVE | _STATIC_NODES):
            return Mechanism("MPOL_WEIGHTED_INTERLEAVE", "used", "initial policy of BW jobs")
        return Mechanism("MPOL_WEIGHTED_INTERLEAVE", "fallback", "MPOL_INTERLEAVE; the agent moves pages to the shares")

    def _interleave_weights(self) -> Mechanism:
        return Mechanism("interleave weights", "used" if self._weights.owned else "off", self._weights.state)

    def _huge_page_faults(self) -> Mechanism:
        return Mechanism("huge page faults", "used" if self._faults.owned else "off", self._faults.state)

    def _moves(self) -> Mechanism:
        try:
            pages.count(os.getpid())
        except OSError as error:
            return Mechanism(
                "move_pages", "missing", str(error), "the kernel needs CONFIG_MIGRATION and /proc/PID/pagemap"
            )
        return Mechanism("move_pages", "used", "verified moves; pages found by /proc/PID/pagemap")

    def _huge_pages(self) -> Mechanism:
        free = ", ".join(f"{name} {self._topology.huge_pages(name)}" for name in self._topology.order)
        if _pagemap_scan().state == "used":
            return Mechanism("huge pages", "used", f"moved whole: known by PAGEMAP_SCAN; room for, now: {free}")
        if not os.access(PROC / "kpageflags", os.R_OK):
            return Mechanism("huge pages", "fallback", "asked for page by page: /proc/kpageflags can't be read")
        with mmap.mmap(-1, mmap.PAGESIZE) as memory:
            memory[0] = 1
            if not _own_entry(memory) & _FRAME:
                return Mechanism(
                    "huge pages", "fallback", "asked for page by page: without CAP_SYS_ADMIN none is known"
                )
        return Mechanism("huge pages", "used", f"moved whole: known by /proc/kpageflags; room for, now: {free}")

    def _movable(self) -> Mechanism:
        names = self._topology.order[1:]
        if not names:
            return Mechanism("ZONE_MOVABLE", "off", "no slower tier")
        zones = {name: _movable_share(self._topology.nodes([name])) for name in names}
        detail = ", ".join(f"{name} {share:.0%}" for name, share in zones.items())
        return Mechanism(
            "ZONE_MOVABLE", "off", f"of the slower tiers: {detail} (memory that a device pins for long leaves it)",
            "where GPUs pin such memory: daxctl online-memory --no-movable" if any(zones.values()) else "",
        )  # fmt: skip

    def _memory_min(self) -> Mechanism:
        if self._cgroups.version == 2:
            if os.access(self._cgroups.root.parent, os.W_OK):
                return Mechanism("memory.min", "used", "hard pins, for jobs that are all LAT or SHL")
            return Mechanism(
                "memory.min", "missing", "the agent can't write it: pins are soft",
                "ProtectControlGroups=no in the agent's unit",
            )  # fmt: skip
        return Mechanism("memory.min", "missing", "cgroup v1 has none: pins are soft")

    def _damon(self) -> Mechanism:
        if problem := self._hotness.damon_problem():
            there, alone = (SYS / "kernel/mm/damon/admin").is_dir(), occupant()
            advice = f"echo N > /sys/module/{alone}/parameters/enabled; lasting: boot with {alone}.enabled=N"
            return Mechanism("DAMON", "fallback" if there else "missing", problem, advice if alone else "")
        if self._hotness.tracker == "damon":
            return Mechanism("DAMON", "used", "finds which memory of the jobs is hot")
        return Mechanism("DAMON", "off", "there: used while a job is large enough")

    def _soft_dirty(self) -> Mechanism:
        if self._hotness.tracker == "soft-dirty":
            return Mechanism("soft-dirty", "used", "finds which memory of the jobs is written: reads are not seen")
        with mmap.mmap(-1, mmap.PAGESIZE) as memory:
            memory[0] = 1
            if _own_entry(memory) & _SOFT_DIRTY:
                return Mechanism("soft-dirty", "off", "there: used where DAMON can't be, with CAP_DAC_OVERRIDE")
        return Mechanism("soft-dirty", "missing", "the kernel does not track it (CONFIG_MEM_SOFT_DIRTY)")

    def _munge(self) -> Mechanism:
        if all(service.startswith("/") for service in self._config.agent.services):
            return Mechanism("munge", "off", "the service is on a unix socket: its peers count by uid")
        try:
            munge = Munge(self._config.munge.socket)
            uid, _ = munge.decode(munge.encode(b"doctor"))
        except CredentialError as error:
            return Mechanism("munge", "missing", str(error), "start munged, or set munge.socket")
        return Mechanism("munge", "used", f"credentials are made and believed, as uid {uid}")

    def _service(self) -> Mechanism:
        if self._deliveries.problem:
            return Mechanism(
                "decision service", "fallback", f"{self._deliveries.problem}: this node plans by itself",
                "start tierwise-decision, or set agent.service",
            )  # fmt: skip
        return Mechanism(
            "decision service", "used", f"{' or '.join(self._config.agent.services)} takes samples and reports"
        )

    def _kept(self) -> Mechanism:
        if self._journal.problem:
            return Mechanism("journal", "missing", self._journal.problem, "free the disk, or set agent.state")
        return Mechanism("journal", "used", "plans and reports outlive the agent")

    def _takes(self, mode: int) -> bool:
        return pages.takes_policy(mode, self._topology.nodes(self._topology.order))


def _numa_balancing() -> Mechanism:
    mode = _text(PROC / "sys/kernel/numa_balancing")
    if mode is None:
        return Mechanism(
            "kernel.numa_balancing", "missing", "the kernel has no NUMA balancing: LAT is not promoted by it"
        )
    if int(mode) & 1:
        return Mechanism(
            "kernel.numa_balancing", "off", "1: the kernel pulls pages without a policy to the CPU that reads them",
            "it fights placement on several sockets: sysctl kernel.numa_balancing=2, or 0",
        )  # fmt: skip
    if int(mode) & 2:
        return Mechanism("kernel.numa_balancing", "used", "2: the kernel promotes hot pages of LAT and planless jobs")
    return Mechanism("kernel.numa_balancing", "off", "0: the kernel promotes nothing")


def _demotion() -> Mechanism:
    demotes = kernel_demotes()
    if demotes is None:
        return Mechanism("kernel demotion", "missing", "no demotion_enabled: the kernel swaps instead")
    if demotes:
        return Mechanism("kernel demotion", "used", "under memory pressure the kernel demotes before it swaps")
    return Mechanism("kernel demotion", "off", "under memory pressure the kernel swaps, it doesn't demote")


def _own_entry(memory: mmap.mmap) -> int:
    """The pagemap entry of a mapping's first page (Documentation/admin-guide/mm/pagemap.rst)."""
    start = pages.address_of(memory)
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        entry: int = struct.unpack("Q", os.pread(pagemap.fileno(), 8, start // mmap.PAGESIZE * 8))[0]
    return entry


def _pagemap_scan() -> Mechanism:
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            fcntl.ioctl(pagemap, _PAGEMAP_SCAN, bytes(96))
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return Mechanism("PAGEMAP_SCAN", "missing", "the kernel has no such ioctl (before 6.7)")
    return Mechanism("PAGEMAP_SCAN", "used", "finds the pages that are there")


def _pressure() -> Mechanism:
    if _text(PROC / "pressure/memory") is None:
        return Mechanism("PSI", "missing", "/proc/pressure/memory can't be read", "boot with psi=1")
    return Mechanism("PSI", "used", "under memory pressure more is kept free, at once")


def _movable_share(nodes: tuple[int, ...]) -> float:
    """The part of some nodes' memory that lies in ZONE_MOVABLE."""
    zones = re.findall(r"^Node (\d+), zone +(\w+)$.*?^ +managed +(\d+)$", (PROC / "zoneinfo").read_text(), re.M | re.S)
    sizes = [(zone, int(size)) for node, zone, size in zones if int(node) in nodes]
    total = sum(size for _, size in sizes)
    return sum(size for zone, size in sizes if zone == "Movable") / total if total else 0.0


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None

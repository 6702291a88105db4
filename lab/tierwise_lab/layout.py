"""The folders of one stack, all below one private directory, and the lock that keeps two stacks apart.

A stack takes a slot: `s0`, `s1`, …. The slot fixes its directory, its ports and its node names, because node
names are cgroup names, which the whole machine shares. A slot whose owner died is torn down and taken again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tierwise_lab import accounts

BASE = Path("/var/lib/tierwise-lab")  # short, and outside /tmp and /dev/shm, which job containers hide
SLOTS = 16
NODES_PER_SLOT = 32
PORTS_PER_SLOT = 64


@dataclass(frozen=True)
class Layout:
    """Paths inside the stack's directory."""

    top: Path

    @property
    def etc(self) -> Path:
        return self.top / "etc"

    @property
    def compute_node_etc(self) -> Path:
        """Where slurmd's configuration is if it differs from everybody else's."""
        return self.etc / "compute-node"

    @property
    def slurm_conf(self) -> Path:
        return self.etc / "slurm.conf"

    @property
    def config(self) -> Path:
        return self.etc / "tierwise.toml"

    @property
    def job_submit(self) -> Path:
        return self.etc / "job_submit.lua"

    @property
    def bin(self) -> Path:
        """The commands of a checkout."""
        return self.top / "bin"

    @property
    def lua(self) -> Path:
        """Where job_submit.lua finds the hook's modules."""
        return self.top / "lua"

    @property
    def run(self) -> Path:
        return self.top / "run"

    @property
    def log(self) -> Path:
        return self.top / "log"

    @property
    def pids(self) -> Path:
        return self.top / "pid"

    @property
    def munge(self) -> Path:
        return self.top / "munge"

    @property
    def munge_socket(self) -> Path:
        return self.munge / "munge.sock"

    @property
    def state(self) -> Path:
        return self.top / "state"

    @property
    def spool(self) -> Path:
        return self.top / "spool"

    @property
    def service(self) -> Path:
        return self.top / "service"

    @property
    def decision_socket(self) -> Path:
        return self.run / "decision.sock"

    @property
    def hook_socket(self) -> Path:
        return self.run / "hook.sock"

    @property
    def agents(self) -> Path:
        return self.top / "agent"

    def agent_socket(self, node: str) -> Path:
        return self.run / f"agent-{node}.sock"

    def home(self, user: str) -> Path:
        return self.top / "home" / user

    @property
    def kept(self) -> Path:
        """Present while the stack outlives its starter on purpose (`up`)."""
        return self.top / "kept"

    @property
    def nodes(self) -> Path:
        """The names of the nodes whose cgroups are this stack's, for whoever tears it down."""
        return self.top / "nodes"


@dataclass
class Slot:
    """An exclusive claim on one slot, held until `release` or the end of this process."""

    number: int
    layout: Layout
    lock: int

    @property
    def first_node(self) -> int:
        return self.number * NODES_PER_SLOT + 1

    def port(self, offset: int) -> int:
        return 17800 + self.number * PORTS_PER_SLOT + offset

    def release(self) -> None:
        os.close(self.lock)


def claim() -> Slot | None:
    """The first slot that nobody holds and nobody keeps, or None. What its last owner left is still there."""
    BASE.mkdir(mode=0o755, parents=True, exist_ok=True)
    for number in range(SLOTS):
        if (slot := try_claim(number)) is None:
            continue
        if not slot.layout.kept.exists():
            return slot
        slot.release()
    return None


def try_claim(number: int) -> Slot | None:
    """Slot `number`, unless a live process holds it."""
    lock = os.open(BASE / f"s{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Slot(number, Layout(BASE / f"s{number}"), lock)


def make_folders(layout: Layout, nodes: Sequence[str]) -> None:
    """Create the directory tree: root's, but for what slurmctld, the service and the job users write."""
    slurm = accounts.ids(accounts.SLURM_USER)
    for folder in (layout.top, layout.etc, layout.pids, layout.munge, layout.spool, layout.agents):
        folder.mkdir(mode=0o755)
    for folder in (layout.run, layout.state, layout.service):
        folder.mkdir(mode=0o755)
        os.chown(folder, *slurm)
    layout.log.mkdir(mode=0o755)
    os.chown(layout.log, *slurm)
    layout.home("root").mkdir(mode=0o700, parents=True)
    for user in accounts.JOB_USERS:
        layout.home(user).mkdir(mode=0o700)
        os.chown(layout.home(user), *accounts.ids(user))
    for node in nodes:
        (layout.spool / node).mkdir(mode=0o755)
    layout.nodes.write_text("\n".join(nodes))

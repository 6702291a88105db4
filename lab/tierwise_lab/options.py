"""What a stack is made of: every choice a test or a person has, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Node:
    """One Slurm NodeName: `host` and `address` say where its slurmd runs, sizes are what Slurm hands out."""

    name: str
    host: str
    address: str
    port: int
    cpus: int
    memory_mib: int
    tiers_mib: Mapping[str, int]  # tier name ("dram") to MiB


@dataclass(frozen=True)
class StackOptions:
    """How to start a Slurm with Tierwise in it. The default: everything, on this machine, four nodes.

    `cluster` lists nodes that live on several hosts; then `local` names those whose slurmd (and agent) run
    here, and `controller` says whether slurmctld and the decision service do. Without it all nodes are local.
    """

    # what runs
    with_tierwise: bool = True
    service: bool = True
    agents: bool = True
    controller: bool = True

    # which nodes
    nodes: int = 4
    node_memory_mib: int = 4000
    node_cpus: int = 2
    cluster: tuple[Node, ...] | None = None
    local: tuple[str, ...] | None = None
    controller_host: tuple[str, str] | None = None  # short host name, address; this host by default
    munge_key: Path | None = None  # shared between hosts; one of our own by default

    # how Slurm is set up
    prolog_flags: str = "Alloc"  # "" leaves the line out
    task_prolog: bool = False  # whether jobs' --tier-env is heard: Slurm takes its time with any TaskProlog
    jobcomp: bool = False  # whether jobcomp/script tells of ended jobs, too
    burst_buffer: bool = False  # whether burst_buffer/lua tells of what pending jobs stage
    extra_slurm_conf: tuple[str, ...] = ()
    slurm_root: Path | None = None  # a directory tree with another release of Slurm, entered by chroot

    # how Tierwise is set up
    plugstack_args: str = ""  # "off" switches the plugin off
    plugin_missing: bool = False  # the slurmds' own plugstack line names a .so that isn't there
    hook_budget_ms: int = 200
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # more for tierwise.toml, by table

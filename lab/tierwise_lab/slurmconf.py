"""The text of Slurm's configuration files for one stack, and the few lines that differ between releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tierwise_lab import cgroups
from tierwise_lab.accounts import SLURM_USER
from tierwise_lab.layout import Layout
from tierwise_lab.options import Node, StackOptions

CREDENTIAL_S = 5
TIERS = ("dram", "pmem", "cxl")


@dataclass(frozen=True)
class Controller:
    """Where slurmctld listens."""

    host: str
    address: str
    port: int


def slurm_conf(options: StackOptions, layout: Layout, controller: Controller, nodes: Sequence[Node]) -> str:
    """slurm.conf: every node of the cluster, on whichever host."""
    lines = [
        "ClusterName=tierwise-lab",
        f"SlurmctldHost={controller.host}({controller.address})",
        f"SlurmctldPort={controller.port}",
        f"SlurmUser={SLURM_USER}",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        # A requeued job waits until its old credentials have expired: two minutes, if they had their way.
        f"AuthInfo=socket={layout.munge_socket},cred_expire={CREDENTIAL_S}",
        f"StateSaveLocation={layout.state}",
        f"SlurmdSpoolDir={layout.spool}/%n",
        f"SlurmctldPidFile={layout.state}/slurmctld.pid",
        f"SlurmdPidFile={layout.spool}/%n.pid",
        f"SlurmctldLogFile={layout.log}/slurmctld.log",
        f"SlurmdLogFile={layout.log}/slurmd-%n.log",
        "SlurmctldDebug=info",
        "SlurmdDebug=info",
        "MpiDefault=none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "ReturnToService=2",
        "SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,nohold_on_prolog_fail",
        "MinJobAge=3600",
        "KillWait=5",
        "DefMemPerNode=256",
        f"GresTypes={','.join(f'tier_{tier}' for tier in TIERS)}",
        *_containment(options),
        *_tierwise(options, layout),
        *options.extra_slurm_conf,
        *(_node_line(node, options.with_tierwise) for node in nodes),
        f"PartitionName=main Nodes={','.join(node.name for node in nodes)} Default=YES MaxTime=60 State=UP"
        " OverSubscribe=NO",
    ]
    return "\n".join(lines) + "\n"


def cgroup_conf(options: StackOptions) -> str:
    """cgroup.conf; IgnoreSystemd is only known where cgroup/v2 is."""
    if options.slurm_root:
        return "CgroupPlugin=disabled\n"
    if cgroups.version() == 2:
        return "CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\nConstrainRAMSpace=yes\n"
    return "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\n"


def _containment(options: StackOptions) -> list[str]:
    """Cgroups where we have them; a chroot has none, and 26.05 knows no cgroup v1 anyway."""
    if options.slurm_root:
        return [
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/none",
        ]
    return [
        "ProctrackType=proctrack/cgroup",
        "TaskPlugin=task/cgroup,task/affinity",
        "JobAcctGatherType=jobacct_gather/cgroup",
    ]


def _tierwise(options: StackOptions, layout: Layout) -> list[str]:
    flags = [f"PrologFlags={options.prolog_flags}"] if options.prolog_flags else []
    if not options.with_tierwise:
        return flags
    return [
        *flags,
        "JobSubmitPlugins=lua",
        f"PlugStackConfig={layout.etc}/plugstack.conf",
        f"Prolog={layout.etc}/prolog",
        *([f"TaskProlog={layout.etc}/task_prolog"] if options.task_prolog else []),
        f"Epilog={layout.etc}/epilog",
        f"EpilogSlurmctld={layout.etc}/epilog_slurmctld",
        *(["BurstBufferType=burst_buffer/lua"] if options.burst_buffer else []),
        *(["JobCompType=jobcomp/script", f"JobCompLoc={layout.etc}/jobcomp"] if options.jobcomp else []),
    ]


def _node_line(node: Node, with_gres: bool) -> str:
    line = (
        f"NodeName={node.name} NodeHostname={node.host} NodeAddr={node.address} Port={node.port}"
        f" CPUs={node.cpus} RealMemory={node.memory_mib}"
    )
    gres = ",".join(f"tier_{tier}:{mib}" for tier, mib in node.tiers_mib.items() if mib)
    return f"{line} Gres={gres}" if with_gres and gres else line

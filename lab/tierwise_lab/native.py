"""This machine as nodes of a cluster: how many CPUs, how much memory, which tiers."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tierwise_lab.options import Node, StackOptions

SLURMD_PORT = 6818
SYSTEM_MIB = 200


def short_hostname() -> str:
    return socket.gethostname().split(".")[0]


def nodes(options: StackOptions, first: int, port: int) -> tuple[Node, ...]:
    """Virtual nodes n1, n2, … of this machine, each with its share of every tier."""
    cpus = min(options.node_cpus, os.cpu_count() or 1)
    tiers = tiers_mib()
    dram_only = set(tiers) <= {"dram"}
    memory = min(options.node_memory_mib, sum(tiers.values()))
    share = {"dram": memory} if dram_only else {tier: mib // options.nodes for tier, mib in tiers.items()}
    return tuple(
        Node(
            name=f"n{first + index}",
            host="localhost",
            address="127.0.0.1",
            port=port + index,
            cpus=cpus,
            memory_mib=sum(share.values()),
            tiers_mib=share,
        )
        for index in range(options.nodes)
    )


def this_host(address: str = "127.0.0.1") -> Node:
    """This whole machine, but for what the system itself needs, as one node named as it is."""
    tiers = tiers_mib()
    tiers["dram"] = max(1, tiers["dram"] - SYSTEM_MIB)
    name = short_hostname()
    return Node(
        name=name,
        host=name,
        address=address,
        port=SLURMD_PORT,
        cpus=os.cpu_count() or 1,
        memory_mib=sum(tiers.values()),
        tiers_mib=tiers,
    )


def tiers_mib() -> dict[str, int]:
    """Capacity of each tier of this machine in MiB."""
    return {"dram": memory_mib()}


def memory_mib() -> int:
    """All memory of this machine in MiB, rounded down as slurmd does."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemTotal")).split()[1]) // 1024

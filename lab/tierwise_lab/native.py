"""This machine as nodes of a cluster: how many CPUs, how much memory, which tiers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tierwise_lab.daemons import LabError
from tierwise_lab.options import Node, StackOptions

SLURMD_PORT = 6818
SYSTEM_MIB = 200


def short_hostname() -> str:
    return socket.gethostname().split(".")[0]


def nodes(options: StackOptions, first: int, port: int) -> tuple[Node, ...]:
    """Virtual nodes n1, n2, … of this machine, each with its share of every tier.

    On a machine with one NUMA node the shares may add up to more than there is: nothing there depends on tiers.
    """
    cpus = min(options.node_cpus, os.cpu_count() or 1)
    tiers = tiers_mib()
    memory = min(options.node_memory_mib, sum(tiers.values()))
    several = len(tiers) > 1
    share = {tier: mib // options.nodes for tier, mib in tiers.items()} if several else {"dram": memory}
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
    """Capacity of each tier of this machine in MiB, fastest first: the agent's word where there are NUMA nodes."""
    nodes = sorted(Path("/sys/devices/system/node").glob("node[0-9]*"))
    if len(nodes) == 1:
        total_kib = (nodes[0] / "meminfo").read_text().split()[3]  # "Node 0 MemTotal: 1234 kB"
        return {"dram": int(total_kib) // 1024}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["tierwise-agent", "--print-tiers", "--json"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    if done.returncode != 0:
        raise LabError(f"tierwise-agent --print-tiers: exit {done.returncode}: {done.stderr.strip()}")
    return {tier["name"]: tier["capacity"] >> 20 for tier in json.loads(done.stdout)}

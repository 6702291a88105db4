"""Several virtual nodes on a network of their own."""

from __future__ import annotations

import json

from tierwise_lab.guest import Guest
from tierwise_lab.node import VirtualNode


def test_nodes_share_a_network_and_a_slurm_and_survive_the_loss_of_one() -> None:
    with Guest("small", nodes=2) as guest:
        first, second = guest.nodes
        they_reach_each_other(first, second)
        environment = guest.start_stack()
        both = guest.run(["srun", "-N2", "--mem=50M", "--tier=cap", "hostname"], env=environment, timeout=300)
        assert sorted(both.stdout.split()) == ["node1", "node2"], both.stderr
        # The agent of node2 reports over TCP: its MUNGE credentials are believed on node1.
        nodes = json.loads(guest.run(["tierctl", "nodes", "--json"], env=environment, check=True).stdout)
        assert sorted(node["sample"]["node"] for node in nodes) == ["node1", "node2"]

        second.kill()
        assert not second.alive()
        assert first.run(["ping", "-c", "1", "-W", "2", "node2"]).returncode == 1
        one = guest.run(["srun", "-w", "node1", "--mem=50M", "--tier=cap", "hostname"], env=environment, timeout=300)
        assert (one.returncode, one.stdout) == (0, "node1\n"), one.stderr


def they_reach_each_other(first: VirtualNode, second: VirtualNode) -> None:
    """By name, with data, and nobody else."""
    assert second.run(["hostname"], check=True).stdout == "node2\n"
    assert first.run(["ping", "-c", "1", "-w", "30", "node2"]).returncode == 0

    listening = second.start(["busybox", "nc", "-l", "-p", "999"])
    listens = "until grep -q ':03E7 0*:0000 0A' /proc/net/tcp*; do sleep 0.1; done"
    second.run(["sh", "-c", listens], check=True, timeout=60)
    first.run(["sh", "-c", "seq 100000 | busybox nc node2 999"], check=True, timeout=60)
    assert listening.wait(60).stdout == "".join(f"{number}\n" for number in range(1, 100_001))

    # No way out of it: no route, and of the host no trace.
    assert first.run(["sh", "-c", "ip route | grep default"]).returncode == 1

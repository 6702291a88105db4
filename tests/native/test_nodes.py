"""What Slurm is told of nodes: weights of the busy ones, exclusions of stragglers; and that it gets its own back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from tierwise.client import DecisionClient
from tierwise.errors import RefusedError
from tierwise.telemetry import Hardware, Measurement, StragglerOrder, TelemetryBatch, Utilisation
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

NODES = 12
LATER = "--begin=now+1hour"
unpardoned = itertools.count(2)
"""Which node a test may pardon: for a second try another one than for the first."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Stack]:
    """Twelve nodes whose agents this test plays, with weights turned on."""
    options = StackOptions(nodes=NODES, agents=False, hook_budget_ms=5000, settings={"service": {"weights": ["main"]}})
    with Stack(options) as stack:
        yield stack


def tell(stack: Stack, node: str, cpu: float) -> None:
    """What the agent of a node would say: so busy in the last minute, and not with Slurm's jobs."""
    use = Utilisation(cpu=cpu)
    with DecisionClient(str(stack.layout.decision_socket)) as client:
        now = Measurement(time.time_ns(), 60.0, use, use)
        client.telemetry(TelemetryBatch(node, Hardware(2, "model", 4 << 30), (now,)))


def weights(stack: Stack) -> dict[str, int]:
    said = stack.run(["sinfo", "-h", "-N", "-o", "%N %w"], user="root").stdout
    return {node: int(weight) for node, weight in (line.split() for line in said.splitlines())}


def excluded(stack: Stack, job: int) -> str:
    return stack.job(job)["ExcNodeList"].replace("(null)", "")


def make_straggler(stack: Stack, node: str) -> None:
    """Say that it is busy until it is named."""

    def named() -> bool:
        tell(stack, node, 0.97)
        return marked(stack) == [node]

    wait_until(named, f"{node} to be named", 120)


def forget_stragglers(stack: Stack) -> None:
    """Say that all that are named are idle, until none is: a first try may have left one."""

    def none() -> bool:
        for node in marked(stack):
            tell(stack, node, 0.0)
        return not marked(stack)

    wait_until(none, "no node to be named", 120)


def test_a_busy_node_comes_last_and_the_site_gets_its_weights_back(cluster: Stack) -> None:
    names = [node.name for node in cluster.nodes]
    wait_until(lambda: min(weights(cluster).values()) >= 1000, "the first weights", 180)  # they would undo the admin's
    cluster.run(["scontrol", "update", f"NodeName={names[11]}", "Weight=3"], user="root")
    for name in names:
        tell(cluster, name, 0.7 if name == names[0] else 0.0)
    expected = {name: 1000 for name in names} | {names[0]: 1001, names[11]: 3000}
    wait_until(lambda: weights(cluster) == expected, f"weights {expected}, not {weights(cluster)}", 180)

    landed = cluster.sbatch("#!/bin/sh\ntrue\n", "--mem=50")
    assert cluster.wait(landed)["NodeList"] == names[1], "the first node is busy"

    cluster.run(["scontrol", "reconfigure"], user="root")  # Slurm forgets every weight
    expected[names[11]] = 1000  # what the admin had set by hand, too
    wait_until(lambda: weights(cluster) == expected, "weights to be published again", 180)

    cluster.kill9("decision")
    cluster.start("decision")
    cluster.stop("decision")
    try:
        assert set(weights(cluster).values()) == {1}, "the service has stopped"
    finally:
        cluster.start("decision")


def test_jobs_are_kept_off_a_straggler_and_only_off_it(cluster: Stack) -> None:
    first, second, third = (node.name for node in cluster.nodes[:3])
    forget_stragglers(cluster)
    waiting = cluster.sbatch("#!/bin/sh\ntrue\n", "--tier=cap", "--mem=50", LATER)
    own = cluster.sbatch("#!/bin/sh\ntrue\n", "--tier=cap", "--mem=50", LATER, f"--exclude={third}")
    assert excluded(cluster, waiting) == "", "there is none yet"

    make_straggler(cluster, second)
    wait_until(lambda: excluded(cluster, waiting) == second, "the pending job to be kept off it", 180)
    assert excluded(cluster, own) == third, "a user's own list is theirs"
    for options in (["--tier=cap"], []):
        job = cluster.sbatch("#!/bin/sh\ntrue\n", *options, "--mem=50", LATER)
        assert excluded(cluster, job) == second
    for options in ([f"--nodelist={first}"], ["--tier=off"], [f"--nodes={NODES}"]):
        job = cluster.sbatch("#!/bin/sh\ntrue\n", *options, "--mem=50", LATER)
        assert excluded(cluster, job) == "", options

    tell(cluster, second, 0.0)
    wait_until(lambda: excluded(cluster, waiting) == "", "the pending job to have any node again", 180)


def test_an_admin_pardons_a_straggler(cluster: Stack) -> None:
    node = cluster.nodes[next(unpardoned)].name
    forget_stragglers(cluster)
    make_straggler(cluster, node)
    refused = cluster.run(["tierctl", "straggler", "pardon", node], user=ALICE)
    assert refused.returncode == 4, refused.stderr
    done = cluster.run(["tierctl", "straggler", "pardon", node, "--hours", "1"], user="root")
    assert done.returncode == 0, done.stderr
    job = cluster.sbatch("#!/bin/sh\ntrue\n", "--tier=cap", "--mem=50", LATER)
    assert excluded(cluster, job) == ""


def test_a_node_that_slurm_does_not_know_is_refused(cluster: Stack) -> None:
    with pytest.raises(RefusedError, match=r"not in slurm\.conf"):
        tell(cluster, "ghost", 0.0)
    with (
        pytest.raises(RefusedError, match="not known here"),
        DecisionClient(str(cluster.layout.decision_socket)) as client,
    ):
        client.order_straggler(StragglerOrder("ghost", "pin"))


def marked(stack: Stack) -> list[str]:
    with DecisionClient(str(stack.layout.decision_socket)) as client:
        return [mark.node for mark in client.stragglers() if mark.state == "named"]

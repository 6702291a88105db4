"""The running stacks that the native tests share, and the watch that nothing of ours may disturb a job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tierwise_lab import image
from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Slurm with all of Tierwise: the one that most tests share, so leave it as you found it.

    The hook is patient: on a busy machine these tests are not about who missed a budget. Jobs that say --tier=auto
    get what history says.
    """
    with Stack(
        StackOptions(hook_budget_ms=5000, task_prolog=True, settings={"service.sizing": {'"*"': "enforce"}})
    ) as running:
        yield running


@pytest.fixture(scope="session")
def slurm2605() -> Iterator[Stack]:
    """Slurm 26.05 in a chroot, with the hook and the plugin; a test may play the service."""
    options = StackOptions(nodes=2, service=False, agents=False, slurm_root=image.chroot_root("forky"))
    with Stack(options) as running:
        yield running


@pytest.fixture(autouse=True)
def undisturbed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: every daemon of the stack runs, no node is drained, no job was held. Then the jobs go."""
    yield
    for name in ("stack", "slurm2605", "hooked", "without_alloc"):
        if name in request.fixturenames:
            check_undisturbed(request.getfixturevalue(name))


def check_undisturbed(stack: Stack) -> None:
    """No node is drained or down, no job held; ends what still runs, so that the next test has the nodes to itself."""
    for daemon in stack.daemons.values():
        assert daemon.running(), f"the test left {daemon.name} stopped"
    assert stack.drained() == {}
    held = stack.run(["squeue", "-h", "-o", "%i %r"], user="root").stdout
    assert "Held" not in held, held
    assert "held" not in held, held
    if held:
        stack.run(["scancel", "--quiet", *(line.split()[0] for line in held.splitlines())], user="root")
        wait_until(lambda: not stack.run(["squeue", "-h"], user="root").stdout, "the queue to be empty", 120)

"""Virtual nodes for a test or a command: booted together, on a network of their own, and gone at the end.

with Guest("three-tiers", nodes=2) as guest:
    done = guest.run(["numactl", "-H"])
    guest.nodes[1].kill()
    guest.copy_out("/out", Path("build"))
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tierwise_lab import qemu
from tierwise_lab.daemons import LabError
from tierwise_lab.image import SUITE, Image, image
from tierwise_lab.layer import layer
from tierwise_lab.node import Command, Completed, VirtualNode
from tierwise_lab.progress import step
from tierwise_lab.switch import Switch
from tierwise_lab.topology import Topology, load

BOOT_TIMEOUT = 240.0
STACK_TIMEOUT = 600.0
LARGEST = 32
KEY_BYTES = 64
ALL_IDLE = "sinfo -N -o '%N %T %E'; while sinfo -h -N -o %T | grep -qv '^idle$'; do sleep 0.5; done"


class Guest:
    """`nodes` virtual nodes of one topology: node1, node2, … at 10.9.8.1, 10.9.8.2, …; node1 is the first.

    Use it by `with`, in a thread that lives as long: the nodes die with the thread that booted them. `qemu` are further
    options of QEMU for every node, `suite` names the image.
    """

    def __init__(
        self,
        topology: str | Topology = "three-tiers",
        nodes: int = 1,
        accel: str = "tcg,thread=multi",
        qemu: Sequence[str] = (),
        suite: str = SUITE,
    ) -> None:
        if not 1 <= nodes <= LARGEST:
            raise LabError(f"{nodes} nodes: from 1 to {LARGEST}")
        self.topology = load(topology) if isinstance(topology, str) else topology
        self.nodes: list[VirtualNode] = []
        self._count = nodes
        self._accel = accel
        self._qemu = qemu
        self._suite = suite
        self._switch = Switch()
        # Where QEMU would put what nodes write, too: more than a /tmp in memory may hold.
        self._folder = Path(tempfile.mkdtemp(prefix="tierwise-lab-", dir=os.environ.get("TMPDIR", "/var/tmp")))

    def __enter__(self) -> Guest:
        try:
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all nodes and remove what they needed. Harmless when repeated."""
        for node in self.nodes:
            node.kill()
        self._switch.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def run(self) -> Callable[..., Completed]:
        """Run a command on the first node: `VirtualNode.run`."""
        return self.nodes[0].run

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or folder to the first node: `VirtualNode.copy_in`."""
        self.nodes[0].copy_in(source, target)

    def copy_out(self, source: str, target: Path) -> None:
        """Copy a file or folder of the first node into a folder here: `VirtualNode.copy_out`."""
        self.nodes[0].copy_out(source, target)

    def start_stack(self) -> dict[str, str]:
        """Start Slurm with Tierwise on all nodes: controller and service on the first, slurmd and agent on each.

        Returns the environment that Slurm's and our commands need. LabError with what a node said if it fails.
        """
        key = secrets.token_hex(KEY_BYTES)
        module = ["python3", "-m", "tierwise_lab.onnode"]
        with step("starting Slurm and Tierwise") as say:
            asked = [node.start([*module, "describe"]) for node in self.nodes]
            cluster = f"[{','.join(_answer(command) for command in asked)}]".encode()
            starting = []
            for node in self.nodes:
                node.write("/etc/munge/munge.key", key, 0o600)
                starting.append(node.start([*module, "start"]))
                starting[-1].write(cluster)
                starting[-1].end_input()
            for node, command in zip(self.nodes, starting, strict=True):
                say(f"on {node.name}")
                _answer(command)
            environment: dict[str, str] = json.loads(_answer(starting[0]))
            self.run(["sh", "-c", ALL_IDLE], env=environment, check=True, timeout=STACK_TIMEOUT)
        return environment

    def _boot(self) -> None:
        base = image(self._suite)
        top = layer(base)
        what = "a virtual node" if self._count == 1 else f"{self._count} virtual nodes"
        with step(f"booting {what}") as say:
            for number in range(1, self._count + 1):
                self.nodes.append(self._power_on(number, base, top))
            self._switch.start()
            for node in self.nodes:
                say(f"waiting for {node.name}")
                node.wait_ready(BOOT_TIMEOUT)

    def _power_on(self, number: int, base: Image, top: Path) -> VirtualNode:
        port, theirs = socket.socketpair()
        ends = [theirs]
        if self._count > 1:
            ends.append(self._switch.plug(number))
        console = self._folder / f"node{number}.console"
        argv = qemu.command(
            self.topology,
            base,
            top,
            accel=self._accel,
            node=number,
            nodes=self._count,
            console=console,
            port=theirs.fileno(),
            network=ends[1].fileno() if self._count > 1 else None,
            extra=self._qemu,
        )
        process = qemu.start(argv, ends, self._folder)
        for end in ends:
            end.close()
        return VirtualNode(number, process, port, console)


def _answer(command: Command) -> str:
    """What a part of the stack says when it is up, or LabError with its reason."""
    done = command.wait(STACK_TIMEOUT)
    if done.returncode != 0:
        raise LabError(f"{' '.join(done.argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout

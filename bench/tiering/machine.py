"""The virtual node that everything is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiering.disk import PLUGIN, disks
from tiering.model import Machine
from tierwise.units import parse_size
from tierwise_lab.guest import Guest
from tierwise_lab.image import SUITE
from tierwise_lab.topology import Tier, Topology

CPUS = 6
"""One for the system (agent, kernel threads, whoever sets up), and one for each of five jobs."""

TIERS = (
    Tier("dram", "1G", latency_ns=80, bandwidth="20G", distances=(10, 17, 28), cpus=CPUS),
    Tier("pmem", "512M", latency_ns=140, bandwidth="10G", distances=(17, 10, 28)),
    Tier("cxl", "512M", latency_ns=300, bandwidth="3G", distances=(28, 28, 10)),
)
"""The lab's three tiers with a tenth of their bandwidth, as five busy CPUs are a tenth of a node's. How much of each
the jobs may use is set after boot (`tiering.inside.memory`)."""

KERNEL = f"{SUITE}-backports"
"""The image: with a kernel whose DAMON moves pages of virtual addresses (Linux 6.17). All environments run on it."""

SHIFT = 2
"""A guest's instruction takes 2^SHIFT ns of its own time, all CPUs in turn. See docs/tiering.md on what that means."""


def topology() -> Topology:
    """The node."""
    return Topology(TIERS)


def model_machine() -> Machine:
    """The same node for the model."""
    return Machine(
        latency_ns=tuple(float(tier.latency_ns) for tier in TIERS),
        bandwidth=tuple(float(parse_size(tier.bandwidth)) for tier in TIERS),
    )


def spans(machine: Topology) -> str:
    """The tiers' places as the plugin sees them: in QEMU 7.2 an address is its RAM block's offset plus the block's
    place among the node's RAM, which with blocks one after the other is twice the sizes before it."""
    found, before = [], 0
    for tier in machine.tier:
        size = parse_size(tier.size)
        found.append(f"{2 * before}-{2 * before + size}")
        before += size
    return "+".join(found)


@contextmanager
def booted(counts: Path) -> Iterator[Guest]:
    """A node whose clock writes into `counts`."""
    programs, swap = disks()
    machine = topology()
    counts.parent.mkdir(parents=True, exist_ok=True)
    options = [
        # without ERMS the kernel copies and clears by words, not by bytes: in QEMU each step is an instruction
        *("-cpu", "max,-erms,-fsrm", "-icount", f"shift={SHIFT},sleep=off"),
        *("-plugin", f"{PLUGIN},out={counts},nodes={spans(machine)}"),
        *("-drive", f"file={programs},if=virtio,format=raw,readonly=on"),
        *("-drive", f"file={swap},if=virtio,format=raw,cache=unsafe,snapshot=on"),
    ]
    with Guest(machine, accel="tcg,thread=single", qemu=options, suite=KERNEL) as guest:
        yield guest

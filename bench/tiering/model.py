"""From counts to time: a stated model, pure. Its constants are varied by half and double (`variants`), and what is
claimed has to hold for each.

A slice of a few million instructions takes as long as the longer of two: its instructions and the misses that it waited
for, or its bytes through the narrowest tier.

    waiting   = instructions × instruction_ns + Σ misses(tier) × latency(tier) / overlap
    bandwidth = max over tiers of bytes(tier) / free bandwidth(tier)

Lines that a prefetcher would have brought cost bandwidth only. Programs that run together share each tier: what the
others draw meanwhile, on average, is not free beyond a fair share, and a miss waits longer in the queue of a busy tier
(M/D/1). A fault that had to read from the disk costs a stated time. What the kernel does on a program's CPU is in that
CPU's counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiering.counts import LINE, Slices

ROUNDS = 30
FULL = 0.95  # a queue is never modelled as fuller than this


@dataclass(frozen=True)
class Machine:
    """`instruction_ns`: the CPI at the clock's rate; `latency_ns` and `bandwidth` (bytes per second) by node;
    `overlap`: misses at the same time; `fault_ns`: a fault that reads from the disk."""

    latency_ns: tuple[float, ...]
    bandwidth: tuple[float, ...]
    instruction_ns: float = 0.2
    overlap: float = 4.0
    fault_ns: float = 100_000.0


@dataclass(frozen=True)
class Program:
    """What one program did on its CPU: slices, and faults that read from the disk."""

    slices: Slices
    disk_faults: int = 0


def variants(machine: Machine) -> Iterator[tuple[str, Machine]]:
    """The machine as stated, and with each constant at half and double."""
    yield "as stated", machine
    for factor, word in ((0.5, "half"), (2.0, "double")):
        slow = tuple(figure * factor for figure in machine.latency_ns[1:])
        wide = tuple(figure * factor for figure in machine.bandwidth)
        yield f"{word} the CPI", replace(machine, instruction_ns=machine.instruction_ns * factor)
        yield f"{word} the overlap", replace(machine, overlap=machine.overlap * factor)
        yield f"{word} the slow tiers' latency", replace(machine, latency_ns=(machine.latency_ns[0], *slow))
        yield f"{word} the bandwidth", replace(machine, bandwidth=wide)
        yield f"{word} the disk's time", replace(machine, fault_ns=machine.fault_ns * factor)


def times(machine: Machine, programs: Mapping[str, Program]) -> dict[str, float]:
    """Seconds that each of these programs takes when they start together; alone, it is one program."""
    traffic = {name: program.slices.bytes.sum(axis=0) for name, program in programs.items()}
    nobody = np.zeros((0, len(machine.bandwidth)))
    taken = {name: _time(machine, program, nobody) for name, program in programs.items()}
    for _ in range(ROUNDS):  # times follow from what the others draw, and that from times: half steps settle quickly
        before = dict(taken)
        for name, program in programs.items():
            drawn = [traffic[other] / max(before[other], before[name], 1e-12) for other in programs if other != name]
            taken[name] = (before[name] + _time(machine, program, np.array(drawn).reshape(-1, *nobody.shape[1:]))) / 2
    return taken


def fair_share(bandwidth: float, others: Sequence[float] | NDArray[np.float64]) -> float:
    """What one who wants all of it gets while `others` want so much: what they leave, but never less than anybody who
    gets less than they want (max-min fairness)."""
    left = bandwidth
    for number, wanted in enumerate(sorted(others)):
        level = left / (len(others) - number + 1)
        if wanted >= level:
            return level
        left -= wanted
    return left


def geometric_mean(ratios: Sequence[float]) -> float:
    """Of positive numbers."""
    return float(np.exp(np.mean(np.log(ratios))))


def _time(machine: Machine, program: Program, others: NDArray[np.float64]) -> float:
    """While `others` [programs, nodes] draw so many bytes per second from each tier."""
    bandwidth = np.array(machine.bandwidth)
    busy = np.minimum(others.sum(axis=0) / bandwidth, FULL)
    queue_ns = LINE / bandwidth * 1e9 * busy / (2 * (1 - busy))
    latency_ns = np.array(machine.latency_ns) + queue_ns
    share = np.array([fair_share(width, drawn) for width, drawn in zip(bandwidth, others.T, strict=True)])
    slices = program.slices
    waiting = slices.instructions * machine.instruction_ns + slices.demand @ latency_ns / machine.overlap
    through = (slices.bytes / share).max(axis=1, initial=0.0) * 1e9
    return float(np.maximum(waiting, through).sum() + program.disk_faults * machine.fault_ns) / 1e9

"""Whether the clock tells the tiers apart as they are configured: a pointer chase and a stream on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiering.counts import Slices, sessions
from tiering.machine import TIERS, booted, model_machine
from tiering.model import Program, times
from tierwise.units import parse_size

KINDS = ("chase", "stream")
TOLERANCE = 0.05


@dataclass(frozen=True)
class Ratio:
    """How much slower a tier is than DRAM: by configuration, and by the clock."""

    kind: str
    tier: str
    configured: float
    clocked: float

    @property
    def error(self) -> float:
        """Relative."""
        return self.clocked / self.configured - 1


def validate(counts: Path) -> list[Ratio]:
    """Boot a node, walk through each tier, and compare; `counts` is where the clock's file goes."""
    with booted(counts) as guest:
        guest.run(["sh", "-c", "mkdir -p /bench && mount -o ro /dev/vdc /bench"], check=True)
        for kind in KINDS:
            for node in range(len(TIERS)):
                guest.run(["taskset", "-c", "1", "/bench/probe", kind, str(node)], check=True)
        found = iter(sessions(counts.read_text().splitlines()))
    return [ratio for kind in KINDS for ratio in _ratios(kind, [_seconds(next(found).program[1]) for _ in TIERS])]


def _seconds(slices: Slices) -> float:
    return times(model_machine(), {"probe": Program(slices)})["probe"]


def _ratios(kind: str, seconds: list[float]) -> list[Ratio]:
    figures = [tier.latency_ns if kind == "chase" else 1 / parse_size(tier.bandwidth) for tier in TIERS]
    return [
        Ratio(kind, tier.name, figure / figures[0], taken / seconds[0])
        for tier, figure, taken in zip(TIERS[1:], figures[1:], seconds[1:], strict=True)
    ]

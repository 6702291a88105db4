"""How often a node is measured: every 10 s at first, less while nothing changes, more under change (chapter 3).

Measuring must not cost what it is to find out: the interval never falls below what the CPU budget pays for.
"""

from tierwise.telemetry import RESOURCES, Measurement

FIRST = 10.0
SHORTEST, LONGEST = 0.2, 6.0
"""Bounds of the interval, as multiples of the first one."""
BUDGET = 0.002
"""Share of one core that measuring may take."""
STEADY, CHANGED = 0.03, 0.10
"""Largest difference of any share between two measurements: below the one nothing changes, above the other it does."""
SLOWER, FASTER = 1.5, 0.5


def change(before: Measurement, now: Measurement) -> float:
    """The largest difference between two measurements, of all loads and all tiers."""
    shares = [abs(now.total.share(name) - before.total.share(name)) for name in RESOURCES]
    shares += [abs(share - before.tiers.get(tier, share)) for tier, share in now.tiers.items()]
    return max(shares)


def next_interval(interval: float, difference: float, cost: float, first: float = FIRST) -> float:
    """Seconds to the next measurement, after one that differed by `difference` and took `cost` seconds of CPU."""
    factor = FASTER if difference >= CHANGED else SLOWER if difference < STEADY else 1.0
    wanted = min(max(interval * factor, first * SHORTEST), first * LONGEST)
    return max(wanted, cost / BUDGET)

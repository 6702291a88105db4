"""Node selection: which nodes suit a job best, and why the others don't (chapter 3, Algorithm 1).

Where we deviate from the printed algorithm: it multiplies weights with utilisation and sorts descending, which picks
the busiest nodes; its text says that a higher score means lower utilisation, and so it is here. Link latency is a
filter too. Utilisation is that of `others`: what Slurm placed itself it has accounted for.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tierwise.telemetry import RESOURCES, Hardware, Resource, Utilisation, Verdict
from tierwise.units import format_size

DEFAULT_WEIGHTS: Mapping[Resource, float] = {
    "cpu": 0.3,
    "memory": 0.15,
    "network": 0.25,
    "gpu": 0.2,
    "gpu_memory": 0.1,
}
_WORDS: Mapping[Resource, str] = {
    "cpu": "CPUs",
    "memory": "memory",
    "network": "network",
    "gpu": "GPUs",
    "gpu_memory": "GPU memory",
}


class Wanted(msgspec.Struct, frozen=True):
    """What a job asks of each of its nodes. 0: nothing said. Sizes in bytes, `network` in bytes per second."""

    nodes: int = 1
    cpus: int = 0
    memory: int = 0
    network: int = 0
    gpus: int = 0
    gpu_memory: int = 0
    latency_ns: int = 0
    """The longest round trip that the job bears."""


class Candidate(msgspec.Struct, frozen=True):
    """A node as it is: its totals, what others use of it, its round trip to its peers (0: not known)."""

    name: str
    hardware: Hardware
    others: Utilisation
    latency_ns: int = 0
    straggler: str = ""
    """Why the node is marked as slow; empty: it is not."""
    slowness: float = 0.0
    """The number that `straggler` speaks of."""
    own: Utilisation = Utilisation()
    """What Slurm's own jobs use: it never drops a node, and decides only among equals."""


class Thresholds(msgspec.Struct, frozen=True):
    """Utilisation at and above which a node is left out, by resource, and the same for its latency (0: none)."""

    shares: Mapping[Resource, float]
    latency_ns: int = 0


def select(
    candidates: Iterable[Candidate],
    wanted: Wanted,
    thresholds: Thresholds,
    weights: Mapping[Resource, float] = DEFAULT_WEIGHTS,
) -> tuple[Verdict, ...]:
    """A verdict on every node: the chosen ones first, best score first; then those that were dropped.

    Among equals (in whole hundredths) the one with less of Slurm's own load comes first, "aiming for balanced resource
    utilization" as the chapter says; then the name decides, so that the result is reproducible.

    `wanted.nodes` of them are chosen, fewer where not as many are left.
    """
    dropped: list[Verdict] = []
    scored: list[tuple[float, Candidate]] = []
    for node in candidates:
        if verdict := drop(node, wanted, thresholds):
            dropped.append(verdict)
        else:
            scored.append((score(node, weights), node))
    scored.sort(key=lambda pair: (-round(pair[0], 2), round(pair[1].own.busiest[1], 2), pair[1].name))
    least = scored[wanted.nodes - 1][0] if len(scored) >= wanted.nodes else 0.0
    chosen = [_scored(node, points, place, wanted.nodes, least) for place, (points, node) in enumerate(scored)]
    return (*chosen, *sorted(dropped, key=lambda verdict: verdict.node))


def drop(node: Candidate, wanted: Wanted, thresholds: Thresholds) -> Verdict | None:
    """Why a node is left out before it is scored; None: it is not. Lasting reasons come before passing ones."""
    if node.straggler:
        return Verdict(node.name, False, f"it is a straggler: {node.straggler}", round(node.slowness, 4))
    if lack := lacks(node, wanted):
        return Verdict(node.name, False, *lack)
    for resource in RESOURCES:
        share, most = node.others.share(resource), thresholds.shares[resource]
        if share >= most:
            verb = "are" if resource in ("cpu", "gpu") else "is"
            text = (
                f"its {_WORDS[resource]} {verb} {share:.0%} busy with what is not Slurm's, the threshold is {most:.0%}"
            )
            return Verdict(node.name, False, text, round(share, 4))
    most_ns = wanted.latency_ns or thresholds.latency_ns
    if most_ns and node.latency_ns > most_ns:
        text = f"its peers are {node.latency_ns / 1e3:.0f} µs away, the threshold is {most_ns / 1e3:.0f} µs"
        return Verdict(node.name, False, text, node.latency_ns / 1e3)
    return None


def lacks(node: Candidate, wanted: Wanted) -> tuple[str, float] | None:
    """What a node will never have of what the job asks for, in words and as a number; None: nothing.

    What is not known of a node (the speed of a virtual link) is not held against it.
    """
    has = node.hardware
    if has.cpus < wanted.cpus:
        return f"it has {has.cpus} CPUs, the job asks for {wanted.cpus}", has.cpus
    if has.memory < wanted.memory:
        return f"it has {format_size(has.memory)}, the job asks for {format_size(wanted.memory)}", has.memory
    if 0 < has.network < wanted.network:
        fast, asked = format_size(has.network), format_size(wanted.network)
        return f"its fastest link carries {fast}/s, the job asks for {asked}/s", has.network
    if len(has.gpus) < wanted.gpus:
        return f"it has {len(has.gpus)} GPUs, the job asks for {wanted.gpus}", len(has.gpus)
    if has.gpu_memory < wanted.gpu_memory:
        fits = f"{format_size(has.gpu_memory)} of GPU memory"
        return f"it has {fits}, the job asks for {format_size(wanted.gpu_memory)}", has.gpu_memory
    return None


def score(node: Candidate, weights: Mapping[Resource, float] = DEFAULT_WEIGHTS) -> float:
    """Σ weight × (1 − utilisation) over what the node has, between 0 (all busy) and 1 (idle)."""
    counted = [name for name in RESOURCES if _has(node.hardware, name)]
    total = sum(weights[name] for name in counted)
    if total <= 0:
        return 0.0
    return sum(weights[name] * (1.0 - node.others.share(name)) for name in counted) / total


def weights_for(wanted: Wanted, base: Mapping[Resource, float] = DEFAULT_WEIGHTS) -> dict[Resource, float]:
    """The weights for a job: what it asked for by name counts twice."""
    named = {"network": wanted.network or wanted.latency_ns, "gpu": wanted.gpus, "gpu_memory": wanted.gpu_memory}
    return {name: weight * (2.0 if named.get(name) else 1.0) for name, weight in base.items()}


def usual_latency(candidates: Sequence[Candidate], factor: float = 3.0, at_least_ns: int = 1_000_000) -> int:
    """A threshold for the latency where the job names none: so many times the cluster's median. 0: nothing known."""
    known = sorted(node.latency_ns for node in candidates if node.latency_ns)
    return max(int(known[len(known) // 2] * factor), at_least_ns) if known else 0


def _has(hardware: Hardware, resource: Resource) -> bool:
    return bool(hardware.gpus) if resource in ("gpu", "gpu_memory") else True


def _scored(node: Candidate, points: float, place: int, nodes: int, least: float) -> Verdict:
    busiest, share = node.others.busiest
    load = f"{_WORDS[busiest]} {share:.0%} busy" if share >= 0.005 else "nothing busy"
    if place < nodes:
        text = f"rank {place + 1} of those that suit: {load}"
        return Verdict(node.name, True, text, round(points, 4), round(points, 4))
    text = f"it suits, but {nodes} others score at least {least:.3f}: {load}"
    return Verdict(node.name, False, text, round(points, 4), round(points, 4))

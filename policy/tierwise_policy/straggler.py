"""Stragglers: nodes that their past and present mark as slow (chapter 3), and when that ends.

Two kinds of evidence: what others use of the node has long been, and is, above a threshold; or the runs that completed
there took longer than those of the same signature elsewhere. Without evidence the mark expires.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median

import msgspec

from tierwise.telemetry import Measurement, Straggler

BUSY = 0.8
"""Utilisation by others at which a node is slow for whoever lands on it."""
CALM = 0.7
"""What it must fall below for the mark to go: not each breath of a load shall move it."""
SLOW = 1.25
"""Run time of a node's runs over that of the others', in medians."""
RECOVERED = 1.1
MIN_RUNS = 8
"""Completed runs on a node before they are evidence."""
MIN_SECONDS = 60.0
"""How much of the past must be known before a load is more than a moment's."""
PAST_SECONDS = 300.0
"""How much of it counts: a node that was idle all night is slow some minutes after it has become busy."""


class Evidence(msgspec.Struct, frozen=True):
    """What marks a node, in words and as a number."""

    text: str
    number: float


def busy(history: Sequence[Measurement], marked: bool = False) -> Evidence | None:
    """Historic (the mean over the last PAST_SECONDS of `history`, weighted by time) and current utilisation by others,
    both above the threshold. For a node that is `marked` already, the current one alone, and a lower threshold."""
    if not history:
        return None
    resource, current = history[-1].others.busiest
    past = lately(history[:-1] if len(history) > 1 else history)
    seconds = sum(one.seconds for one in past)
    historic = sum(one.others.busiest[1] * one.seconds for one in past) / seconds
    new = current >= BUSY and historic >= BUSY and seconds >= MIN_SECONDS
    if not (current >= CALM if marked else new):
        return None
    return Evidence(
        f"{resource} {current:.0%} busy with what is not Slurm's, {historic:.0%} over the last {_span(seconds)}",
        round(current, 4),
    )


def lately(history: Sequence[Measurement]) -> list[Measurement]:
    """The newest measurements, newest first, as many as it takes to cover PAST_SECONDS."""
    seconds, found = 0.0, list[Measurement]()
    for one in reversed(history):
        if seconds >= PAST_SECONDS:
            break
        found.append(one)
        seconds += one.seconds
    return found


def slow(slowdowns: Mapping[str, Sequence[float]], marked: Collection[str] = ()) -> dict[str, Evidence]:
    """The nodes on which runs took longer than on the others: each run time over the median of its signature, each
    node by its median, against the median of the other nodes'. Nodes with too few runs say nothing and count for
    nothing."""
    medians = {node: median(values) for node, values in slowdowns.items() if len(values) >= MIN_RUNS}
    ordered = sorted(medians.values())
    found: dict[str, Evidence] = {}
    if len(medians) < 2:
        return found
    for node, here in medians.items():
        times = here / max(_median_without(ordered, bisect_left(ordered, here)), 1e-9)
        if times >= (RECOVERED if node in marked else SLOW):
            runs = len(slowdowns[node])
            text = f"{runs} completed runs took {times:.2f} times as long there as runs of the same kind elsewhere"
            found[node] = Evidence(text, round(times, 4))
    return found


def _median_without(ordered: Sequence[float], skipped: int) -> float:
    """The median of sorted values without the one at an index."""
    left = len(ordered) - 1
    low, high = ((left - 1) // 2, left // 2)
    low, high = (place + (place >= skipped) for place in (low, high))
    return (ordered[low] + ordered[high]) / 2


def judge(now: int, before: Straggler | None, node: str, evidence: Iterable[Evidence | None]) -> Straggler | None:
    """A node's mark now. An admin's word goes before evidence while it holds; None: the node is not marked."""
    if before is not None and before.state != "named" and not 0 < before.until <= now:
        return before
    found = next((one for one in evidence if one), None)
    if found is None:
        return None
    since = before.since if before is not None and before.state == "named" else now
    return Straggler(node, "named", since, found.text, found.number)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

"""Node selection as the service does it: the nodes as they are, or were, for the job that is asked about."""

import time
from collections.abc import Iterable, Sequence

import msgspec

from tierwise.errors import RefusedError
from tierwise.messages import JobView, Words
from tierwise.telemetry import RESOURCES, Explanation, Hardware, Measurement, Straggler, Utilisation, Verdict
from tierwise.units import format_size
from tierwise_decision.database import telemetry as tables
from tierwise_decision.database.store import Store
from tierwise_decision.requested import Requested
from tierwise_decision.requests import Requests
from tierwise_decision.stragglers import Stragglers
from tierwise_decision.telemetry import SECOND, Loads
from tierwise_policy.selection import (
    Candidate,
    Thresholds,
    Wanted,
    select,
    usual_latency,
    weights_for,
)
from tierwise_policy.straggler import MIN_SECONDS, lately
from tierwise_policy.thresholds import Exposure, thresholds, usual

WITHIN = 600 * SECOND
"""How old a measurement may be to say how a node was when a job started."""
MAX_VERDICTS = 10_000


class Selection:
    """Candidates from what is known of the nodes, and explanations."""

    def __init__(self, loads: Loads, stragglers: Stragglers, store: Store, requests: Requests) -> None:
        self._loads, self._stragglers, self._store, self._requests = loads, stragglers, store, requests

    def candidates(self) -> list[Candidate]:
        """All nodes as they are now."""
        found = []
        for node in self._loads.nodes():
            if load := self._loads.load(node):
                found.append(self._candidate(node, load.measurement, self._stragglers.mark(node)))
        return found

    def lasting(self, nodes: Iterable[str]) -> list[Candidate]:
        """Those of some nodes that have reported lately and long enough: with what others used of them on average over
        the last minutes. May be called in another thread."""
        oldest, found = time.time_ns() - WITHIN, []
        for node in nodes:
            known = lately(self._loads.history(node))
            seconds = sum(one.seconds for one in known)
            if seconds >= MIN_SECONDS and known[0].time >= oldest:
                shares = (sum(one.others.share(name) * one.seconds for one in known) / seconds for name in RESOURCES)
                mean = msgspec.structs.replace(known[0], others=Utilisation(*shares))
                found.append(self._candidate(node, mean, self._stragglers.mark(node)))
        return found

    async def explain(self, view: JobView, signature: str) -> Explanation:
        """Why each node was or wasn't chosen for a job: as the nodes were when it started, or are while it waits.

        Raises UnavailableError when the past can't be read.
        """
        request = await self._requests.find(view.token) if view.token else None
        wanted = wanted_of(request)
        ran_on = tuple(sorted({*view.samples, *(report.node for report in view.reports)}))
        started = _started(view)
        nodes, notes = await self._as_of(started) if started else (self.candidates(), ())
        if not nodes:
            raise RefusedError("no node has reported its load yet", 404)
        runs = (
            await self._store.read(lambda connection: tables.exposures_of(connection, signature)) if signature else []
        )
        limits, basis = limits_for(nodes, runs)
        verdicts = select(nodes, wanted, limits, weights_for(wanted))
        return Explanation(
            view.job_id,
            started or time.time_ns(),
            describe(wanted),
            ran_on,
            verdicts[:MAX_VERDICTS],
            (*notes, basis, *_notes(verdicts, ran_on)),
        )

    async def _as_of(self, time: int) -> tuple[list[Candidate], tuple[str, ...]]:
        """The nodes as they were then; where nobody remembers, as they are now, and a note that says so."""
        measured = await self._store.read(lambda connection: tables.at(connection, time, WITHIN))
        nodes = [self._candidate(node, one, self._mark_at(node, time)) for node, one in measured.items()]
        if nodes:
            return nodes, ()
        return self.candidates(), ("no load is known from when it started: the nodes are shown as they are now",)

    def _candidate(self, node: str, one: Measurement, mark: Straggler | None) -> Candidate:
        load = self._loads.load(node)
        hardware = load.hardware if load else Hardware(1, "unknown", 0)
        avoided = mark is not None and mark.avoided
        return Candidate(
            node,
            hardware,
            one.others,
            one.latency_ns,
            mark.evidence if mark and avoided else "",
            mark.number if mark and avoided else 0.0,
            one.own,
        )

    def _mark_at(self, node: str, at: int) -> Straggler | None:
        mark = self._stragglers.mark(node)
        return mark if mark and mark.since <= at else None


def wanted_of(request: Requested | None) -> Wanted:
    """What a job asks of its nodes, as far as the hook told."""
    if request is None:
        return Wanted()
    return Wanted(
        nodes=max(request.nodes, 1),
        cpus=request.cpus,
        memory=request.memory,
        network=request.net,
        latency_ns=request.latency_ns,
    )


def limits_for(nodes: Sequence[Candidate], runs: Sequence[Exposure]) -> tuple[Thresholds, str]:
    """The thresholds for a job whose signature has these runs, and what they stand on."""
    latency = usual_latency(nodes)
    if not runs:
        return Thresholds(usual(), latency), "thresholds are the usual ones: no completed run of this kind is known"
    return Thresholds(thresholds(runs), latency), f"thresholds from {len(runs)} completed runs of this kind"


def describe(wanted: Wanted) -> Words:
    """What a job asks for, in words."""
    parts = [f"{wanted.nodes} node{'s' if wanted.nodes > 1 else ''}"]
    parts += [f"{wanted.cpus} CPUs"] if wanted.cpus else []
    parts += [format_size(wanted.memory)] if wanted.memory else []
    parts += [f"{format_size(wanted.network)}/s of network"] if wanted.network else []
    parts += [f"peers within {wanted.latency_ns / 1e3:.0f} µs"] if wanted.latency_ns else []
    return ", ".join(parts)


def _started(view: JobView) -> int:
    """When the job's latest run started; 0: it has not."""
    starts = [sample.started for sample in view.samples.values()] or [report.started for report in view.reports]
    return max(starts, default=0)


def _notes(verdicts: Sequence[Verdict], ran_on: Sequence[str]) -> tuple[str, ...]:
    chosen = {verdict.node for verdict in verdicts if verdict.chosen}
    others = [node for node in ran_on if node not in chosen]
    if not others:
        return ()
    return (
        f"Slurm placed it on {', '.join(others[:8])}: it chooses among the nodes that are free, and by its own weights",
    )

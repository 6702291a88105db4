"""`make demo`: five jobs on one node with several memory tiers, the plan of each beside what the kernel says.

Reality is read here, from /proc/PID/numa_maps of the jobs' own processes, not from Tierwise. Writes demo.json into the
folder that it is given. The exit code is 0 only when every job with a plan agrees with it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tierwise.client import DecisionClient
from tierwise.errors import RefusedError
from tierwise.messages import JobSample
from tierwise.plans import Plan
from tierwise.tiers import Tier
from tierwise.units import format_size
from tierwise_lab import native
from tierwise_lab.daemons import LabError
from tierwise_lab.numa_maps import anonymous_bytes
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack
from tierwise_policy.placement import agrees, targets

HELD_MIB = 300
MEMORY_MIB = 400
PATIENCE_S = 150.0
HOLD = Path(__file__).with_name("hold.py")


@dataclasses.dataclass(frozen=True)
class DemoJob:
    """One submission: its directive (empty: none) and how its program uses its memory."""

    directive: str
    manner: str


JOBS = (
    DemoJob("lat", "random"),
    DemoJob("bw", "stream"),
    DemoJob("cap", "keep"),
    DemoJob("lat:64M,cap", "keep"),
    DemoJob("", "random"),
)


class Outcome(msgspec.Struct):
    """What demo.json says of one job; bytes per tier. `agrees` is None for the job without a plan."""

    job_id: int
    directive: str
    planned: dict[str, int]
    found: dict[str, int]
    agrees: bool | None
    note: str
    misplaced: int
    """Bytes that had landed elsewhere than planned when the job held all of its memory, and were moved."""
    settled_s: float


def main(arguments: Sequence[str]) -> int:
    """Argument: the folder for demo.json."""
    console = Console(width=100, highlight=False)
    started = time.monotonic()
    node = dataclasses.replace(native.this_host(), cpus=len(JOBS) + 1)
    options = StackOptions(cluster=(node,), extra_slurm_conf=("SlurmdParameters=config_overrides",))
    with Stack(options) as stack:
        client = DecisionClient(str(stack.layout.decision_socket), timeout=PATIENCE_S)
        tiers = client.nodes()[0].sample.tiers
        console.print(f"[bold]Slurm and Tierwise run[/] ({time.monotonic() - started:.0f} s); this node has:")
        console.print(tier_table(tiers))
        jobs = [(job, submit(stack, job)) for job in JOBS]
        for job, job_id in jobs:
            directive = f"--tier={job.directive} " if job.directive else ""
            console.print(f"sbatch {directive}--mem={MEMORY_MIB}M hold {HELD_MIB} MiB → job {job_id}")
        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as waiting:
            outcomes = list(waiting.map(lambda one: settle(client, tiers, *one), jobs))
        console.print(outcome_table(tiers, outcomes))
        stack.attach(["tierctl", "status"], user="root")
        for outcome in outcomes:
            stack.run(["scancel", str(outcome.job_id)], user="root")
    Path(arguments[0], "demo.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcomes)))
    console.print(f"{time.monotonic() - started:.0f} s in all")
    return 0 if all(outcome.agrees is not False for outcome in outcomes) else 1


def submit(stack: Stack, job: DemoJob) -> int:
    """Submit one job as an ordinary user; returns its id."""
    program = stack.layout.home("tierwise-alice") / "hold.py"  # the source tree may be root's alone
    program.write_text(HOLD.read_text())
    script = f"#!/bin/sh\nexec /usr/bin/python3 -I {program} {HELD_MIB} {job.manner}\n"
    directive = [f"--tier={job.directive}"] if job.directive else []
    return stack.sbatch(script, *directive, f"--mem={MEMORY_MIB}M", "--cpus-per-task=1", f"--job-name={job.manner}")


def settle(client: DecisionClient, tiers: Sequence[Tier], job: DemoJob, job_id: int) -> Outcome:
    """Wait until the job holds its memory and its pages are where the plan says, or patience ends."""
    order = [tier.name for tier in tiers]

    def pages() -> dict[str, int]:
        return found_on(tiers, anonymous_bytes(job_marker=f"SLURM_JOB_ID={job_id}"))

    until(lambda: sum(pages().values()) >= HELD_MIB << 20, f"job {job_id} to hold {HELD_MIB} MiB")
    held = time.monotonic()
    plan, note = planned(client, job_id, bool(job.directive))
    misplaced = 0
    if plan is not None:
        found = pages()
        misplaced = sum(max(found[tier] - size, 0) for tier, size in targets(plan, found, order).items())
        try:
            until(lambda: agrees(plan, pages(), order) is True, f"job {job_id} to agree with its plan")
            moved = f"{format_size(misplaced)} moved in {time.monotonic() - held:.0f} s"
            note = moved if misplaced > HELD_MIB << 15 else "as it landed"
        except LabError as error:
            note = str(error)
    found = pages()
    return Outcome(
        job_id=job_id,
        directive=job.directive,
        planned=targets(plan, found, order) if plan else {},
        found=found,
        agrees=agrees(plan, found, order),
        note=note,
        misplaced=misplaced,
        settled_s=round(time.monotonic() - held, 1),
    )


def planned(client: DecisionClient, job_id: int, expected: bool) -> tuple[Plan | None, str]:
    """The job's plan and, where it has none, the reason that Tierwise gives."""
    samples: list[JobSample] = []

    def known() -> bool:
        with contextlib.suppress(RefusedError):  # no node has spoken of it yet
            samples[:] = client.job(job_id).samples.values()
        return any(sample.plan is not None or not expected for sample in samples)

    until(known, f"the decision service to know the plan of job {job_id}")
    return samples[0].plan, samples[0].reason


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; LabError after PATIENCE_S seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.5)


def found_on(tiers: Sequence[Tier], per_node: dict[int, int]) -> dict[str, int]:
    """Bytes per tier, from bytes per NUMA node."""
    return {tier.name: sum(per_node.get(node, 0) for node in tier.numa_nodes) for tier in tiers}


def tier_table(tiers: Sequence[Tier]) -> Table:
    """The node's tiers, fastest first."""
    table = Table("tier", "NUMA nodes", "capacity", "latency", "bandwidth", "known from", box=None, padding=(0, 2))
    for tier in tiers:
        table.add_row(
            tier.name,
            ",".join(map(str, tier.numa_nodes)),
            format_size(tier.capacity),
            f"{tier.latency_ns} ns",
            f"{tier.bandwidth / 1e9:.0f} GB/s",
            tier.source,
        )
    return table


def outcome_table(tiers: Sequence[Tier], outcomes: Sequence[Outcome]) -> Table:
    """Plan beside reality: on each tier `found / planned`, in MiB of anonymous pages."""
    table = Table(title="found / planned, MiB of anonymous pages (numa_maps)", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("job", "--tier", *(tier.name for tier in tiers)):
        table.add_column(heading, justify="left" if heading == "--tier" else "right", no_wrap=True)
    table.add_column("agrees")
    words = {True: "[green]yes[/], ", False: "[red]no[/], ", None: ""}
    for one in outcomes:
        cells = [
            f"{one.found[tier.name] >> 20} / {one.planned[tier.name] >> 20 if one.planned else '–'}" for tier in tiers
        ]
        table.add_row(str(one.job_id), one.directive or "(none)", *cells, words[one.agrees] + one.note)
    return table


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"demo: {error}")

"""`tierctl job ID`: the plan beside what the pages say, and after the end the report."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tierwise.messages import Attempt, Heat, JobReport, JobSample, JobView, Movement, NodeName
from tierwise.plans import Moves, Plan
from tierwise.tiers import TierName
from tierwise.units import format_size
from tierwise_cli.show import words
from tierwise_cli.show.bars import curve
from tierwise_policy.placement import targets

CURVE = 32
"""Cells of a report's curve."""
Orders = Mapping[NodeName, Sequence[TierName]]


def job(view: JobView, orders: Orders) -> RenderableType:
    """The picture of `view`. `orders`: each node's tiers, fastest first, where known."""
    blocks: list[RenderableType] = [_head(view)]
    reasons = {sample.reason for sample in view.samples.values()} | {report.reason for report in view.reports}
    blocks += [Text(f"  {words.safe(notice)}", words.FAINT) for notice in view.notices if notice not in reasons]
    blocks += attempt_lines(view.attempts)
    for node, sample in sorted(view.samples.items()):
        blocks.append(Padding(Group(*_running(node, sample, orders.get(node))), (1, 0, 0, 0)))
    for report in sorted(view.reports, key=lambda report: (report.key.restart, report.node)):
        blocks.append(Padding(Group(*_ended(report, orders.get(report.node))), (1, 0, 0, 0)))
    if not view.samples and not view.reports and not view.attempts:
        blocks.append(Text("  It has not started yet: its plan is made when it does.", words.FAINT))
    return Group(*blocks)


def _head(view: JobView) -> Text:
    asked = f"--tier={words.directive(view.directive)}" if view.directive else "without --tier"
    return Text.assemble(
        (f"job {view.job_id}", words.HEAD),
        f"  {words.safe(words.user(view.uid))}, {view.state}, {asked}",
        (f"  token {view.token}" if view.token else "", words.FAINT),
    )


_CAUSES = {
    "well": "ended well",
    "memory": "out of memory",
    "time": "out of time",
    "node": "its node failed",
    "program": "failed by itself",
    "cancelled": "cancelled",
}


def attempt_lines(attempts: Sequence[Attempt]) -> Iterator[RenderableType]:
    """A line for each run of the job that has ended, as Slurm saw it, and what was done about it."""
    for number, one in enumerate(attempts, 1):
        life = words.duration(max(one.ended - one.started, 0) / 1e9)
        status = f", exit {one.exit_code}" if one.exit_code else ""
        if one.exit_signal and one.cause != "memory":  # Slurm writes that as a signal, too
            status += f", signal {one.exit_signal}"
        memory = f" with {format_size(one.memory)}" if one.memory else ""
        done = f": {one.action}" if one.action else ""
        cause = _CAUSES.get(one.cause, one.state.lower())
        style = "" if one.cause == "well" else words.WARN
        yield line(f"run {number}", f"{cause} after {life}{memory}{status}{done}", style)


def _running(node: NodeName, sample: JobSample, order: Sequence[TierName] | None) -> Iterator[RenderableType]:
    yield Text.assemble((words.safe(node), words.HEAD), "  ", *_agreement(sample))
    yield _indented(_comparison(sample.plan, sample.found, order or _names(sample.plan, sample.found)))
    yield from _plan_lines(sample.plan, sample.reason)
    yield line("moves", _moves(sample.moves))
    yield from _movement(sample.movement)


def _agreement(sample: JobSample) -> Iterator[tuple[str, str]]:
    if sample.plan is None:
        yield "no plan", words.FAINT
    elif sample.agrees is None:
        yield "too little memory in use to compare yet", words.FAINT
    else:
        yield ("as planned", words.GOOD) if sample.agrees else ("not as planned", words.WARN)
    if sample.suspended:
        yield ", suspended", words.WARN


def _comparison(plan: Plan | None, found: Mapping[TierName, int], order: Sequence[TierName]) -> Table:
    """Per tier: the whole plan, the part of it that is due for the bytes in use now, and what was found."""
    if plan is None:
        table = words.table("TIER", "FOUND NOW", right=("FOUND NOW",))
        for tier in order:
            table.add_row(words.words(tier), words.size(found.get(tier, 0)))
        return table
    numbers = ("PLANNED", "DUE NOW", "FOUND NOW", "DIFFERENCE")
    table = words.table("TIER", *numbers, right=numbers)
    due = targets(plan, found, order)
    for tier in order:
        apart = found.get(tier, 0) - due.get(tier, 0)
        table.add_row(
            words.words(tier),
            words.size(plan.tiers.get(tier, 0)),
            words.size(due.get(tier, 0)),
            words.size(found.get(tier, 0)),
            words.difference(apart),
        )
    used = sum(found.values())
    table.add_row(*(Text(cell, words.FAINT) for cell in (
        "all", format_size(plan.size - plan.unplaced), format_size(used), format_size(used), "",
    )))  # fmt: skip
    return table


def _ended(report: JobReport, order: Sequence[TierName] | None) -> Iterator[RenderableType]:
    life = max(report.ended - report.started, 0) / 1e9
    again = f", restart {report.key.restart}" if report.key.restart else ""
    yield Text.assemble(
        (words.safe(report.node), words.HEAD),
        f"  ended after {words.duration(life)}{again}",
        ("" if report.end == "epilog" else ", no epilog was seen", words.WARN),
    )
    yield _indented(_usage(report, order or _names(report.plan, report.tiers)))
    yield from _plan_lines(report.plan, report.reason)
    if report.plan is not None:
        yield line("agreed", f"{report.agreed:.0%} of the samples after its growth had stopped")
    yield line("moves", _moves(report.moves))
    yield from _movement(report.movement)
    if report.heat is not None:
        yield line("heat", _heat(report.heat))
    yield line("faults", f"{report.minor_faults:,} minor, {report.major_faults:,} major")
    if report.oom_kills:
        yield line("memory", f"{report.oom_kills} processes killed for lack of memory", words.BAD)
    if report.gaps:
        yield line("unwatched", f"{words.duration(report.gaps)} without an agent")
    if not report.whole:
        yield line("report", "not whole: samples were lost", words.WARN)


def _usage(report: JobReport, order: Sequence[TierName]) -> Table:
    planned = report.plan.tiers if report.plan else {}
    table = words.table("TIER", "PLANNED", "PEAK", "MEAN", "OVER TIME", right=("PLANNED", "PEAK", "MEAN"))
    for tier in order:
        use = report.tiers.get(tier)
        values = [point.found.get(tier, 0) for point in report.curve]
        table.add_row(
            words.words(tier),
            words.size(planned.get(tier, 0)) if report.plan else Text("-"),
            words.size(use.peak if use else 0),
            words.size(use.mean if use else 0),
            Text(curve(values, CURVE, report.peak), "cyan"),
        )
    table.add_row(Text("all", words.FAINT), Text(""), words.size(report.peak, words.FAINT))
    return table


def _plan_lines(plan: Plan | None, reason: str) -> Iterator[RenderableType]:
    if plan is None:
        yield line("no plan", reason or "the kernel places its memory")
        return
    for part in plan.parts:
        label = part.memory_class or "rest"
        pinned = f", {format_size(part.pinned)} pinned" if part.pinned else ""
        unplaced = f", {format_size(part.unplaced)} fit nowhere" if part.unplaced else ""
        yield line(label, f"{format_size(part.size)}: {words.by_tier(part.tiers)}{pinned}{unplaced}")
    tiers = f" over {', '.join(plan.policy.tiers)}" if plan.policy.tiers else ""
    balancing = ", with kernel NUMA balancing" if plan.policy.numa_balancing else ""
    yield line("policy", f"{plan.policy.mode.replace('_', ' ')}{tiers}{balancing}")
    for why in plan.degraded:
        yield line("degraded", why, words.WARN)


def _moves(moves: Moves) -> str:
    if moves == Moves():
        return "none"
    counts = f"{moves.asked:,} asked, {moves.landed:,} landed, {moves.refused:,} refused, {moves.bounced:,} bounced"
    return f"{counts} (pages)"


def _movement(movement: Movement | None) -> Iterator[RenderableType]:
    """Which way the moves went, and what became of the pinned part."""
    if movement is None:
        return
    if movement.promoted or movement.demoted:
        yield line("went", f"{movement.promoted:,} up, {movement.demoted:,} down (pages)")
    if movement.pin:
        broken = f"{movement.broken_pins:,} pages taken by the kernel, {movement.repaired_pins:,} brought back"
        text = f"{movement.pin}: {broken if movement.broken_pins else 'never broken'}"
        yield line("pin", text, words.WARN if movement.broken_pins > movement.repaired_pins else "")


def _heat(heat: Heat) -> str:
    """How the job used its memory; `lat:SIZE` should be the hottest part."""
    working_set = f"working set {format_size(heat.working_set)}"
    if not heat.trusted:
        return f"{working_set}; hot and cold pages could not be told apart"
    return f"{working_set}, of it {format_size(heat.hot)} took 80 % of the accesses"


def line(label: str, text: str, style: str = "") -> RenderableType:
    """A label and a text that wraps beside it."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, min_width=10)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, words.FAINT), Text(words.safe(text), style))
    return _indented(grid)


def _indented(what: RenderableType) -> RenderableType:
    return Padding(what, (0, 0, 0, 2))


def _names(plan: Plan | None, found: Mapping[TierName, object]) -> list[TierName]:
    return words.tier_order([*(plan.tiers if plan else ()), *found])

"""`tierctl report JOB`: what a job asked for and what it used, how well that fitted, and what to ask for next time."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from tierwise.messages import Attempt, JobReport, JobView
from tierwise.tiers import TierName
from tierwise.units import format_size
from tierwise_cli.show import words
from tierwise_cli.show.bars import job_look
from tierwise_cli.show.job import Orders, attempt_lines, line
from tierwise_cli.show.plot import Layer, Plot
from tierwise_policy.advice import advice


def report(view: JobView, orders: Orders) -> RenderableType:
    """The picture of an ended job. `orders`: each node's tiers, fastest first, where known."""
    asked = f"--tier={words.directive(view.directive)}" if view.directive else "without --tier"
    blocks: list[RenderableType] = [
        Text.assemble((f"job {view.job_id}", words.HEAD), f"  {words.safe(words.user(view.uid))}, {asked}")
    ]
    blocks += attempt_lines(view.attempts)
    reports = last_run(view.reports)
    last = view.attempts[-1] if view.attempts else None
    blocks += _efficiency(reports, last)
    for one in reports:
        blocks.append(Padding(Group(*_node(one, orders.get(one.node))), (1, 0, 0, 0)))
    if not reports:
        blocks.append(Text("  No agent has reported on it.", words.FAINT))
    blocks.append(Padding(Group(*_advice(view.attempts, reports)), (1, 0, 0, 0)))
    return Group(*blocks)


def last_run(reports: Sequence[JobReport]) -> list[JobReport]:
    """The reports of a job's last run, by node."""
    newest = max((one.key.restart for one in reports), default=0)
    return sorted((one for one in reports if one.key.restart == newest), key=lambda one: one.node)


def _efficiency(reports: Sequence[JobReport], last: Attempt | None) -> Iterator[RenderableType]:
    """How much of what was asked for was used."""
    memory = _memory(reports, last)
    if memory and reports:
        peak = max(one.peak for one in reports)
        mean = sum(use.mean for one in reports for use in one.tiers.values()) / len(reports)
        share = f"{peak / memory:.0%} at most, {mean / memory:.0%} on average"
        yield line("memory", f"{format_size(peak)} of {format_size(memory)} on a node: {share}")
    yield from _cpu(reports, last)
    if last and last.started:
        seconds = max(last.ended - last.started, 0) / 1e9
        limit = f" of {words.duration(last.time_limit)}: {seconds / last.time_limit:.0%}" if last.time_limit else ""
        yield line("time", f"{words.duration(seconds)}{limit}")


def _cpu(reports: Sequence[JobReport], last: Attempt | None) -> Iterator[RenderableType]:
    """CPU time, of what its CPUs had to give where Slurm told how many they were."""
    used = sum(one.cpu_seconds for one in reports)
    given = sum(max(one.ended - one.started, 0) / 1e9 for one in reports) * (last.cpus if last else 0)
    if used and last and given:
        each = f"{last.cpus} CPUs" + (" on each node" if len(reports) > 1 else "")
        yield line("CPU", f"{words.duration(used)} of {words.duration(given)} with {each}: {used / given:.0%}")
    elif used:
        yield line("CPU", words.duration(used))


def _node(one: JobReport, order: Sequence[TierName] | None) -> Iterator[RenderableType]:
    life = max(one.ended - one.started, 0) / 1e9
    yield Text.assemble((words.safe(one.node), words.HEAD), f"  {words.duration(life)}")
    names = [name for name in order or words.tier_order(one.tiers) if name in one.tiers]
    planned = one.plan.tiers if one.plan else {}
    table = words.table("", "TIER", "PLANNED", "PEAK", "MEAN", right=("PLANNED", "PEAK", "MEAN"))
    for position, name in enumerate(names):
        look, colour = job_look(position)
        table.add_row(
            Text(look, colour),
            words.words(name),
            words.size(planned.get(name, 0)) if one.plan else Text("-"),
            words.size(one.tiers[name].peak),
            words.size(one.tiers[name].mean),
        )
    yield Padding(table, (0, 0, 0, 2))
    layers = tuple(Layer(name, [point.found.get(name, 0) for point in one.curve]) for name in names)
    top = max((sum(point.found.values()) for point in one.curve), default=0)
    if top:
        yield Plot(layers, top, words.duration(life))
    moves = one.moves
    if moves.asked:
        counts = f"{moves.asked:,} asked, {moves.landed:,} landed, {moves.refused:,} refused, {moves.bounced:,} bounced"
        yield line("moves", f"pages: {counts}")
    if one.plan:
        yield line("as planned", f"{one.agreed:.0%} of the samples, once it had stopped growing")
    yield line("faults", f"{one.minor_faults:,} minor, {one.major_faults:,} major")
    if one.oom_kills:
        yield line("memory", f"{one.oom_kills} processes killed for lack of memory", words.BAD)
    for why in one.plan.degraded if one.plan else ():
        yield line("degraded", why, words.WARN)


def _advice(attempts: Sequence[Attempt], reports: Sequence[JobReport]) -> Iterator[RenderableType]:
    last = attempts[-1] if attempts else None
    peak = max([one.peak for one in reports] or [last.peak if last else 0])
    seconds = (last.ended - last.started) / 1e9 if last else 0.0
    pasted, why = advice(
        attempts,
        memory=_memory(reports, last),
        peak=peak,
        seconds=seconds,
        time_limit=last.time_limit if last else 0,
    )
    if not pasted:
        yield Text("It asked for what it needs: leave the script as it is.", words.GOOD)
        return
    yield Text(f"For your script ({why}):", words.FAINT)
    yield Text(pasted, words.HEAD)


def _memory(reports: Sequence[JobReport], last: Attempt | None) -> int:
    """Bytes per node that the last run asked for."""
    return last.memory if last and last.memory else max((one.memory for one in reports), default=0)

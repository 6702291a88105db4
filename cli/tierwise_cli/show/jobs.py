"""`tierctl jobs`: a line a job."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from tierwise.messages import JobView
from tierwise.tiers import TierName
from tierwise_cli.show import words

_STATES = {"submitted": words.FAINT, "running": words.GOOD, "ended": ""}


def jobs(views: Sequence[JobView]) -> RenderableType:
    """What each job asked for, what it holds (after its end: held at most), and whether that is its plan."""
    if not views:
        return Text("No jobs, or none that you may see: tierctl shows your own.")
    table = words.table(
        "JOB", "USER", "STATE", "TIER", "NODES", "HOLDS", "AS PLANNED",
        right=("JOB", "NODES"), cut=("USER", "TIER", "HOLDS"),
    )  # fmt: skip
    for view in views:
        places = len(view.samples) or len({report.node for report in view.reports})
        table.add_row(
            Text(str(view.job_id) if view.job_id else "-"),
            words.words(words.user(view.uid)),
            Text(view.state, _STATES[view.state]),
            words.words(words.directive(view.directive), "" if view.directive else words.FAINT),
            Text(str(places) if places else "-"),
            words.words(words.briefly(_held(view)) if places else ""),
            _verdict(view),
        )
    return table


def _held(view: JobView) -> dict[TierName, int]:
    held: dict[TierName, int] = {}
    for sample in view.samples.values():
        for tier, size in sample.found.items():
            held[tier] = held.get(tier, 0) + size
    if not view.samples:
        for report in view.reports:
            for tier, use in report.tiers.items():
                held[tier] = held.get(tier, 0) + use.peak
    return held


def _verdict(view: JobView) -> Text:
    if view.samples:
        plans = [sample.plan for sample in view.samples.values()]
        answers = {sample.agrees for sample in view.samples.values()}
        if not any(plans):
            return Text("no plan", words.FAINT)
        if False in answers:
            return Text("no", words.WARN)
        return Text("yes", words.GOOD) if True in answers else Text("not yet to tell", words.FAINT)
    planned = [report for report in view.reports if report.plan]
    if not planned:
        return Text("no plan" if view.reports else "", words.FAINT)
    return Text(f"{min(report.agreed for report in planned):.0%}")

"""`tierctl jobs` and `tierctl job ID`."""

import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem
from rich.console import Group

from tierwise.errors import CredentialError, RefusedError, TierwiseError, UnavailableError
from tierwise.messages import JobView
from tierwise_cli import asking
from tierwise_cli.exits import DISAGREES
from tierwise_cli.settings import Settings, common_options, remark, settings_of
from tierwise_cli.show.heatmap import HeatmapPicture, write_png
from tierwise_cli.show.job import Orders
from tierwise_cli.show.job import job as job_picture
from tierwise_cli.show.jobs import jobs as jobs_picture

ROWS, LARGEST = 24, 96
"""Rows of a heatmap on a terminal; rows and columns of one that an agent gives at most."""


@click.command(short_help="The newest jobs, and whether they are as planned.")
@common_options
@click.option("--state", type=click.Choice(["submitted", "running", "ended"]), help="Only jobs in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.pass_context
def jobs(context: click.Context, state: str | None, limit: int) -> None:
    """The newest jobs: what they asked for, what they hold, whether that is their plan.

    \b
      tierctl jobs --state running
    """
    settings = settings_of(context)
    with asking.service(settings) as service:
        views = service.jobs(state or "", limit)
    settings.show(views, lambda: jobs_picture(views))


def job_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Job ids for the shell; none, quickly and quietly, where nobody answers."""
    try:
        with asking.service(settings_of(context), timeout=1.0) as service:
            ids = [str(view.job_id) for view in service.jobs(limit=100)]
    except TierwiseError:
        return []
    return [CompletionItem(job_id) for job_id in ids if job_id.startswith(incomplete)]


@click.command(short_help="A job's plan beside its pages; after its end, its report.")
@common_options
@click.argument("job_id", type=click.IntRange(1), shell_complete=job_ids)
@click.option("--heatmap", is_flag=True, help="Where and when it accesses its memory: on a node of the job.")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Write the heatmap as a picture.")
@click.pass_context
def job(context: click.Context, job_id: int, heatmap: bool, png: Path | None) -> None:
    """The plan of a job beside what its pages say; after its end, its report.

    \b
    PLANNED is the whole plan, DUE NOW the part of it for the memory in use now,
    FOUND NOW what its pages say. Exits with 1 when they differ by more than the
    promised 5 %.

    \b
      tierctl job 4711
      tierctl job 4711 --json
      srun --overlap --jobid=4711 tierctl job 4711 --heatmap
    """
    settings = settings_of(context)
    if heatmap or png:
        _heatmap(settings, job_id, png)
        return
    view = _view(settings, job_id)
    orders = {} if settings.json else orders_of(settings)
    settings.show(view, lambda: job_picture(view, orders))
    if any(sample.agrees is False for sample in view.samples.values()):
        sys.exit(DISAGREES)


def _heatmap(settings: Settings, job_id: int, png: Path | None) -> None:
    """Heatmaps stay where they are made: addresses are nobody else's business, and they are large."""
    heatmaps = asking.heatmaps(settings, job_id, *((LARGEST, LARGEST) if png else (ROWS, LARGEST)))
    if png:
        write_png(heatmaps, png)
        remark(f"wrote {png}")
    else:
        settings.show(heatmaps, lambda: Group(*(HeatmapPicture(*each) for each in heatmaps.items())))


def _view(settings: Settings, job_id: int) -> JobView:
    """The service's view; where it is silent, the agents' of this host."""
    try:
        with asking.service(settings) as service:
            return service.job(job_id)
    except (UnavailableError, CredentialError) as silence:
        try:
            view = asking.local_job(settings, job_id)
        except RefusedError:
            raise
        except TierwiseError:
            raise silence from None
        remark(f"{silence}; this is what the agents of this host say")
        return view


def orders_of(settings: Settings) -> Orders:
    """Each node's tiers, fastest first; without an answer the picture goes by the tiers' names."""
    try:
        with asking.service(settings) as service:
            views = service.nodes()
    except TierwiseError:
        try:
            views = asking.local_nodes(settings)
        except TierwiseError:
            return {}
    return {
        view.sample.node: [tier.name for tier in sorted(view.sample.tiers, key=lambda tier: tier.rank)]
        for view in views
    }

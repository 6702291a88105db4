"""`tierctl report JOB`."""

import click

from tierwise.errors import RefusedError
from tierwise_cli import asking
from tierwise_cli.commands.jobs import job_ids, orders_of
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.report import report as report_picture


@click.command(short_help="What an ended job used, and a line for its script.")
@common_options
@click.argument("job_id", type=click.IntRange(1), shell_complete=job_ids)
@click.pass_context
def report(context: click.Context, job_id: int) -> None:
    """What an ended job asked for and what it used, and a line for its script.

    \b
    The plot is what its last run held on each tier over time. The last line is
    what to ask for next time: paste it into the script.

    \b
      tierctl report 4711
      tierctl report 4711 --json
    """
    settings = settings_of(context)
    with asking.service(settings) as service:
        view = service.job(job_id)
    if view.state != "ended":
        raise RefusedError(f"job {job_id} has not ended yet: `tierctl job {job_id}` shows what it holds now")
    orders = {} if settings.json else orders_of(settings)
    settings.show(view, lambda: report_picture(view, orders))

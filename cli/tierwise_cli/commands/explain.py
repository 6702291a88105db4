"""`tierctl explain JOB`: why each node was or wasn't chosen."""

import click

from tierwise_cli import asking
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.explain import explanation


@click.command(short_help="Why each node suits a job or doesn't.")
@common_options
@click.argument("job_id", type=click.IntRange(1))
@click.pass_context
def explain(context: click.Context, job_id: int) -> None:
    """Why each node suits a job or doesn't, in a sentence and a number.

    \b
    The nodes are shown as they were when the job started, or as they are now
    while it waits; * marks those that it got. SCORE is 1 for an idle node and 0
    for a busy one; what Slurm placed itself does not count as load.

    \b
      tierctl explain 4711
      tierctl explain 4711 --json
    """
    settings = settings_of(context)
    with asking.service(settings) as service:
        found = service.explain(job_id)
    settings.show(found, lambda: explanation(found))

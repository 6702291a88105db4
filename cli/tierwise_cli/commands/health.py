"""`tierctl health`."""

import sys

import click

from tierwise_cli import asking
from tierwise_cli.exits import DISAGREES
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.health import health as health_picture


@click.command()
@common_options
@click.pass_context
def health(context: click.Context) -> None:
    """How the decision service is. Exits with 1 when it is degraded.

    \b
      tierctl health || echo "look at the service"
    """
    settings = settings_of(context)
    with asking.service(settings) as service:
        answer = service.health()
    settings.show(answer, lambda: health_picture(answer))
    if not answer.ok:
        sys.exit(DISAGREES)

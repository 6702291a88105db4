"""`tierctl straggler list|pin|pardon`."""

import click

from tierwise.telemetry import StragglerOrder
from tierwise_cli import asking
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.stragglers import stragglers as picture


@click.group(short_help="Nodes that are slow, and an admin's word on them.")
@common_options
def straggler() -> None:
    """Nodes that are slow: who they are and why, and an admin's word on them.

    \b
    A node is named by evidence (a load that is not Slurm's, or runs that take
    longer there) and freed when the evidence goes. Jobs are kept off stragglers
    where enough other nodes are left.
    """


@straggler.command("list")
@common_options
@click.pass_context
def list_(context: click.Context) -> None:
    """The stragglers, and who was pardoned.

    \b
      tierctl straggler list
    """
    settings = settings_of(context)
    with asking.service(settings) as service:
        found = service.stragglers()
    settings.show(found, lambda: picture(found))


@straggler.command()
@common_options
@click.argument("node")
@click.option("--hours", type=click.FloatRange(0, 8784), default=0.0, help="For so long; default: until pardoned.")
@click.option("--reason", default="", help="For those who read the list.")
@click.pass_context
def pin(context: click.Context, node: str, hours: float, reason: str) -> None:
    """Mark NODE as a straggler, whatever the evidence. For admins.

    \b
      tierctl straggler pin n17 --reason "fan replaced on Friday"
    """
    _order(context, StragglerOrder(node, "pin", hours, reason))


@straggler.command()
@common_options
@click.argument("node")
@click.option("--hours", type=click.FloatRange(0, 8784), default=0.0, help="For so long; default: a day.")
@click.option("--reason", default="", help="For those who read the list.")
@click.pass_context
def pardon(context: click.Context, node: str, hours: float, reason: str) -> None:
    """Take the mark off NODE and ignore the evidence for a while. For admins.

    \b
      tierctl straggler pardon n17 --hours 2
    """
    _order(context, StragglerOrder(node, "pardon", hours, reason))


def _order(context: click.Context, order: StragglerOrder) -> None:
    settings = settings_of(context)
    with asking.service(settings) as service:
        mark = service.order_straggler(order)
    settings.show(mark, lambda: picture([mark]))

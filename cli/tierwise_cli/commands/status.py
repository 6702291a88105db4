"""`tierctl status` and `tierctl nodes`: what the tiers hold, and what they are."""

from collections.abc import Sequence

import click
from rich.console import Group

from tierwise.errors import CredentialError, TierwiseError, UnavailableError
from tierwise.messages import NodeView
from tierwise.telemetry import NodeLoad
from tierwise_cli import asking
from tierwise_cli.settings import Settings, common_options, remark, settings_of
from tierwise_cli.show.loads import loads as loads_picture
from tierwise_cli.show.nodes import nodes as nodes_picture
from tierwise_cli.show.status import status as status_picture


class _Node(NodeView, frozen=True, gc=False):
    """A node with its load: what `tierctl nodes --json` prints. None where nobody knows it."""

    load: NodeLoad | None = None


@click.command()
@common_options
@click.option("--node", "names", multiple=True, metavar="NAME", help="Only this node; may be repeated.")
@click.pass_context
def status(context: click.Context, names: tuple[str, ...]) -> None:
    """How full every tier of every node is, and of which jobs.

    \b
    Each tier is one bar: a colour for each job, then what is in use otherwise,
    then what is free. Other users' jobs are shown to admins only.

    \b
      tierctl status
      tierctl status --node n1 --json
    """
    settings = settings_of(context)
    views = _views(settings, names)
    settings.show(views, lambda: status_picture(views))


@click.command()
@common_options
@click.option("--node", "names", multiple=True, metavar="NAME", help="Only this node; may be repeated.")
@click.pass_context
def nodes(context: click.Context, names: tuple[str, ...]) -> None:
    """What each node is made of, and how busy it is.

    \b
    Tiers, NUMA nodes, latencies, bandwidths; then the share of each resource that
    is in use, in brackets the part that is not Slurm's, and the round trip to
    other nodes.

    \b
      tierctl nodes
      tierctl nodes --json
    """
    settings = settings_of(context)
    views, loads = _views(settings, names), _loads(settings, names)
    both = [_Node(view.sample, view.age, view.state, loads.get(view.sample.node)) for view in views]
    settings.show(both, lambda: Group(nodes_picture(views), *(["", loads_picture(loads)] if loads else [])))


def _loads(settings: Settings, names: Sequence[str]) -> dict[str, NodeLoad]:
    """The service's word on how busy nodes are; nothing where it is silent."""
    try:
        with asking.service(settings) as service:
            found = service.loads()
    except TierwiseError:
        return {}
    return {node: load for node, load in found.items() if not names or node in names}


def _views(settings: Settings, names: Sequence[str]) -> list[NodeView]:
    """The service's nodes; where it is silent, those of this host's agents."""
    try:
        with asking.service(settings) as service:
            views = service.nodes()
    except (UnavailableError, CredentialError) as silence:
        try:
            views = asking.local_nodes(settings)
        except TierwiseError:
            raise silence from None
        remark(f"{silence}; this is what the agents of this host say")
    return [view for view in views if not names or view.sample.node in names]

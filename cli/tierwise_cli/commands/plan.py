"""`tierctl plan --dry-run`."""

import sys

import click

from tierwise.directive import parse_directive
from tierwise.errors import DirectiveError
from tierwise.messages import DryRunQuery
from tierwise.units import parse_size
from tierwise_cli import asking
from tierwise_cli.exits import DISAGREES
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.plan import plans as plans_picture
from tierwise_policy.sizes import resolve


def _directive(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """What may stand after --tier=, checked here as sbatch checks it."""
    try:
        return str(parse_directive(value))
    except DirectiveError as error:
        raise click.BadParameter(str(error)) from None


def _memory(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int:
    """Memory as sbatch takes it: a bare number is MiB."""
    if value is None:
        return 0
    try:
        return parse_size(f"{value}M" if value.isdigit() else value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@common_options
@click.option("--dry-run", is_flag=True, required=True, help="Say what would be; nothing is changed.")
@click.option("--tier", "directive", callback=_directive, required=True, metavar="DIRECTIVE", help="As for sbatch.")
@click.option("--mem", "memory", callback=_memory, metavar="SIZE", help="Per node, as for sbatch.")
@click.option("--node", metavar="NAME", help="Only on this node.")
@click.pass_context
def plan(context: click.Context, dry_run: bool, directive: str, memory: int, node: str | None) -> None:
    """What a job would get on each node, and why.

    \b
    DIRECTIVE is CLASS[:SIZE][,CLASS[:SIZE]...], auto or off:
      lat  latency-sensitive     bw   bandwidth-intensive
      cap  capacity              shl  short-lived
    Exits with 1 when no node could give it as asked.

    \b
      tierctl plan --dry-run --tier=lat:2G,cap --mem=16G
      tierctl plan --dry-run --tier=bw:50%,cap --mem=8G --node n1
    """
    settings = settings_of(context)
    if memory:  # what is said explicitly is checked as the hook checks it
        resolve(parse_directive(directive), memory, explicit=True)
    with asking.service(settings) as service:
        answers = service.dry_run(DryRunQuery(directive, memory, node))
    settings.show(answers, lambda: plans_picture(answers))
    if not any(answer.plan is not None and not answer.plan.degraded for answer in answers):
        sys.exit(DISAGREES)

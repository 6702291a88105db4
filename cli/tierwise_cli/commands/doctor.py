"""`tierctl doctor`."""

import sys

import click

from tierwise_cli.exits import DISAGREES
from tierwise_cli.mechanisms import daemons
from tierwise_cli.mechanisms.slurm import slurm
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.doctor import doctor as doctor_picture


@click.command()
@common_options
@click.pass_context
def doctor(context: click.Context) -> None:
    """Which mechanisms of the kernel and of Slurm are used on this host, and why not.

    \b
    used      it works            fallback  something weaker takes its place
    missing   look at the advice  off       switched off, or not this host's
    Exits with 1 when something is missing. Run it as root for all details.

    \b
      tierctl doctor
      tierctl doctor --json | jq '.[] | select(.state == "missing")'
    """
    settings = settings_of(context)
    groups = {
        **daemons.kernel(settings),
        "Slurm": slurm(settings.config),
        "Between hosts": [daemons.munge(settings.config), daemons.decision(settings)],
    }
    rows = [row for group in groups.values() for row in group]
    settings.show(rows, lambda: doctor_picture(groups))
    if any(row.state == "missing" for row in rows):
        sys.exit(DISAGREES)

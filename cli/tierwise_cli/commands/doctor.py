"""`tierctl doctor`."""

import sys

import click

from tierwise_cli.exits import DISAGREES
from tierwise_cli.mechanisms import daemons
from tierwise_cli.mechanisms.slurm import slurm
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.doctor import doctor as doctor_picture


@click.command(short_help="What works on this host, and why not.")
@common_options
@click.pass_context
def doctor(context: click.Context) -> None:
    """Which mechanisms of the kernel and of Slurm are used on this host, and why not.

    \b
    used      it works
    fallback  something weaker takes its place
    missing   not there; where you can mend it, there is advice below
    off       switched off, or not used here
    Exits with 1 when something that you can mend is missing.

    \b
      tierctl doctor
      tierctl doctor --json | jq '.[][] | select(.state == "missing")'
    """
    settings = settings_of(context)
    groups = {
        **daemons.kernel(settings),
        "Slurm": slurm(settings.config),
        "tierctl on this host": [daemons.munge(settings.config), daemons.decision(settings)],
    }
    settings.show(groups, lambda: doctor_picture(groups))
    if any(row.state == "missing" and row.advice for rows in groups.values() for row in rows):
        sys.exit(DISAGREES)

"""tierctl's entry: the group of commands, and the one place where errors become a line and an exit code."""

import io
import sys

import click

from tierwise import __version__
from tierwise.errors import TierwiseError
from tierwise_cli.commands.completion import completion
from tierwise_cli.commands.doctor import doctor
from tierwise_cli.commands.events import events
from tierwise_cli.commands.explain import explain
from tierwise_cli.commands.health import health
from tierwise_cli.commands.jobs import job, jobs
from tierwise_cli.commands.plan import plan
from tierwise_cli.commands.report import report
from tierwise_cli.commands.shared import shared
from tierwise_cli.commands.stage import stage
from tierwise_cli.commands.status import nodes, status
from tierwise_cli.commands.straggler import straggler
from tierwise_cli.exits import UNREACHABLE, code_of
from tierwise_cli.settings import common_options
from tierwise_cli.show.words import safe


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@common_options
@click.version_option(__version__, prog_name="tierctl")
def tierctl() -> None:
    """See what the memory tiers of a Slurm cluster hold, and what its jobs got.

    \b
      tierctl status                              every tier of every node
      tierctl job 4711                            a job's plan beside its pages
      tierctl report 4711                         what it used in the end, and what to ask for next time
      tierctl plan --dry-run --tier=cap --mem=8G  what a job would get, and why
      tierctl explain 4711                        why each node was or wasn't chosen for it
      tierctl events --follow                     which pages moved on this host, and why
      tierctl stage list                          images and data staged on this host's memory
      tierctl shared list                         memory that programs share on this host
      tierctl doctor                              what works on this host, and why not

    \b
    Exit codes:
      0  fine
      1  something is degraded or not as planned (doctor, health, job, plan)
      2  wrong usage, a wrong directive or a wrong configuration
      3  a daemon can't be reached
      4  refused, or not found

    NO_COLOR=1 switches colours off; they are only used on a terminal.
    """


for command in (
    status,
    nodes,
    jobs,
    job,
    report,
    plan,
    explain,
    straggler,
    stage,
    shared,
    doctor,
    health,
    events,
    completion,
):
    tierctl.add_command(command)


def main() -> None:
    """The console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale without our characters must not end in a trace
        sys.stdout.reconfigure(errors="replace")
    try:
        tierctl(prog_name="tierctl")
    except TierwiseError as error:
        hint = " (`tierctl doctor` says what runs here)" if code_of(error) == UNREACHABLE else ""
        said = "\n".join(safe(line) for line in str(error).splitlines())
        click.echo(f"tierctl: {said}{hint}", err=True)
        sys.exit(code_of(error))

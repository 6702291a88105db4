"""`tierctl events`: what this host's agents did with pages, and why."""

import time

import click

from tierwise_cli import asking
from tierwise_cli.settings import Settings, common_options, settings_of
from tierwise_cli.show.events import events as lines

PAUSE = 1.0
"""Seconds between two questions while following."""


@click.command(short_help="Which pages moved on this host, and why.")
@common_options
@click.option("--job", "job_id", type=click.IntRange(1), help="Only those of one job.")
@click.option("--follow", "-f", is_flag=True, help="Go on, until Ctrl-C.")
@click.pass_context
def events(context: click.Context, job_id: int | None, follow: bool) -> None:
    """What the agents of this host did with pages, and why: the newest 200 events.

    \b
      tierctl events --follow
      tierctl events --job 4711 --json
    """
    settings = settings_of(context)
    seen = _tell(settings, job_id or 0, dict.fromkeys(asking.agent_sockets(settings), 0))
    while follow:
        time.sleep(PAUSE)
        seen = _tell(settings, job_id or 0, seen)


def _tell(settings: Settings, job_id: int, seen: dict[str, int]) -> dict[str, int]:
    """Show what each agent has to tell since its last event, and remember which was its last."""
    found = {path: asking.events(path, since, job_id) for path, since in seen.items()}
    told = {asking.agent_name(settings.config, path): events for path, events in found.items()}
    if settings.json or any(told.values()):
        settings.show(told, lambda: lines(told))
    return {path: events[-1].number if events else seen[path] for path, events in found.items()}

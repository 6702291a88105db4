"""`tierctl events`: what this host's agents did with pages, and why."""

import time

import click

from tierwise.errors import ProtocolError, UnavailableError
from tierwise.messages import Event
from tierwise_cli import asking
from tierwise_cli.settings import Settings, common_options, remark, settings_of
from tierwise_cli.show import words
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
    sockets = asking.agent_sockets(settings)
    seen = _tell(settings, {path: asking.events(path, 0, job_id or 0) for path in sockets}, dict.fromkeys(sockets, 0))
    silent: set[str] = set()
    while follow:
        time.sleep(PAUSE)
        found = {path: _new_events(path, since, job_id or 0, silent) for path, since in seen.items()}
        seen = _tell(settings, found, seen)


def _tell(settings: Settings, found: dict[str, list[Event]], seen: dict[str, int]) -> dict[str, int]:
    """Show what each agent has to tell since its event `seen`, and remember which was its last."""
    told = {asking.agent_name(settings.config, path): events for path, events in found.items()}
    if settings.json or any(told.values()):
        settings.show(told, lambda: lines(told))
    return {path: events[-1].number if events else seen[path] for path, events in found.items()}


def _new_events(path: str, since: int, job_id: int, silent: set[str]) -> list[Event]:
    """What an agent did since; one that is silent, as while it starts again, is waited for, which is said once."""
    try:
        events = asking.events(path, since, job_id)
    except (UnavailableError, ProtocolError) as error:
        if path not in silent:
            remark(f"{words.safe(str(error))}: waiting for it")
        silent.add(path)
        return []
    silent.discard(path)
    return events

"""`tierctl stage`: the copies of images and data on this host's fast memory."""

from pathlib import Path

import click
from rich.text import Text

from tierwise.local import ask
from tierwise.units import format_size
from tierwise_cli import asking
from tierwise_cli.settings import common_options, remark, settings_of
from tierwise_cli.show.stage import stage as stage_picture

LONGEST = 3600
SILENT = 1
"""Seconds after which who waits for a copy is told so."""
PATIENCE = 5.0
"""Seconds for an answer, beside those that were asked for."""


@click.group()
@common_options
def stage() -> None:
    """Copies of images and data on this host's memory tiers.

    \b
      tierctl stage list
      tierctl stage add /data/image.sif     stage it now, before a job needs it
      tierctl stage pin /data/image.sif     keep it until you drop it
      tierctl stage drop /data/image.sif
    """


@stage.command("list")
@common_options
@click.pass_context
def list_copies(context: click.Context) -> None:
    """Your copies, and those that your jobs hold; for root all."""
    settings = settings_of(context)
    copies = asking.staged_copies(settings)
    settings.show(copies, lambda: stage_picture(copies))


@stage.command()
@common_options
@click.argument("path", type=click.Path(exists=True, resolve_path=True))
@click.option("--tier", default="", help="The tier it shall lie on; default: the slowest with room.")
@click.option("--wait", type=click.IntRange(0, LONGEST), default=LONGEST, show_default=True, help="Seconds at most.")
@click.pass_context
def add(context: click.Context, path: str, tier: str, wait: int) -> None:
    """Stage a file or a folder. It stays for its lease, and until room is needed."""
    settings = settings_of(context)
    status = Path(path).stat()
    seen = {"device": status.st_dev, "inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    question: dict[str, str | int] = {"op": "stage", "path": path, "tier": tier, "hold": 0, **seen}
    copies = {}
    for socket in asking.agent_sockets(settings):
        answer = ask(socket, question | {"wait": min(wait, SILENT)}, timeout=SILENT + PATIENCE)
        if answer["state"] == "copying" and wait > SILENT:
            remark(f"copying {format_size(int(answer['size']))} to {answer['tier']}, for at most {wait} s")
            answer = ask(socket, question | {"wait": wait - SILENT}, timeout=wait + PATIENCE)
        if answer["state"] == "copying":
            remark(f"{path} is still being copied: `tierctl stage list` shows how far it is")
        elif not settings.json:
            click.echo(answer["path"])
        copies[asking.agent_name(settings.config, socket)] = answer
    if settings.json:
        settings.show(copies, Text)


@stage.command()
@common_options
@click.argument("path", type=click.Path(resolve_path=True))
@click.pass_context
def drop(context: click.Context, path: str) -> None:
    """Remove your copies of PATH; what a job holds stays."""
    asking.any_agent(settings_of(context), {"op": "stage_drop", "path": path})


@stage.command()
@common_options
@click.argument("path", type=click.Path(resolve_path=True))
@click.option("--off", is_flag=True, help="Pin it no more.")
@click.pass_context
def pin(context: click.Context, path: str, off: bool) -> None:
    """Keep your copies of PATH beyond their lease, and from making room for others."""
    asking.any_agent(settings_of(context), {"op": "stage_pin", "path": path, "pinned": int(not off)})

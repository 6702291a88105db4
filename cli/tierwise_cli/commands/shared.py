"""`tierctl shared`: the named regions of the user library on this host."""

import pwd

import click

from tierwise_cli import asking
from tierwise_cli.settings import common_options, settings_of
from tierwise_cli.show.shared import shared as shared_picture


@click.group(short_help="Memory that programs share on this host.")
@common_options
def shared() -> None:
    """Named regions of memory that programs share on this host (libtierwise, tierwise.memory).

    \b
      tierctl shared list
      tierctl shared drop matrix              its name is gone, the region ends with its last holder
      tierctl shared drop model --user alice  another user's, for root
    """


@shared.command("list")
@common_options
@click.pass_context
def list_regions(context: click.Context) -> None:
    """Your regions: size, tier, who holds them; for root everybody's."""
    settings = settings_of(context)
    regions = asking.regions(settings)
    settings.show(regions, lambda: shared_picture(regions))


def _uid(_context: click.Context, _parameter: click.Parameter, user: str | None) -> int | None:
    if user is None or user.isdecimal():
        return None if user is None else int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise click.BadParameter(f"no user {user!r} on this host") from None


@shared.command()
@common_options
@click.argument("name")
@click.option("--user", "uid", callback=_uid, help="Whose; default: yours.")
@click.pass_context
def drop(context: click.Context, name: str, uid: int | None) -> None:
    """Take the NAME of a region away. A retained region ends by this; what a program holds stays until it lets go."""
    question: dict[str, str | int] = {"op": "memory_drop", "name": name}
    asking.any_agent(settings_of(context), question | ({} if uid is None else {"uid": uid}))

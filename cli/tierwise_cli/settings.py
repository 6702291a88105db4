"""The options that every command takes, before or after its name, and the console that it prints to."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console, RenderableType

from tierwise.config import Config, load_config

F = TypeVar("F", bound=Callable[..., Any])


class Settings:
    """What was given on the command line; the configuration is read when somebody first asks for it."""

    def __init__(self) -> None:
        self.json = False
        self.config_path: str | None = None
        self.service: str | None = None
        self.agent: str | None = None
        self._config: Config | None = None

    @property
    def config(self) -> Config:
        """The configuration. Raises ConfigError."""
        if self._config is None:
            self._config = load_config(self.config_path)
        return self._config

    def show(self, value: object, picture: Callable[[], RenderableType]) -> None:
        """Print `value` as JSON where that was asked for, else its picture."""
        if self.json:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")
        else:
            Console(highlight=False, soft_wrap=False).print(picture())


def remark(text: str) -> None:
    """One line beside the output, on stderr: JSON on stdout stays whole."""
    click.echo(f"tierctl: {text}", err=True)


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            setattr(context.find_root().ensure_object(Settings), name, value)

    return callback


_OPTIONS = (
    click.option(
        "--json", is_flag=True, expose_value=False, callback=_keep("json"), help="Print the messages as JSON."
    ),
    click.option(
        "--config",
        metavar="FILE",
        expose_value=False,
        callback=_keep("config_path"),
        help="The configuration; default $TIERWISE_CONFIG or /etc/tierwise/tierwise.toml.",
    ),
    click.option(
        "--service",
        metavar="URL|SOCKET",
        expose_value=False,
        callback=_keep("service"),
        help="The decision service; default: its socket where it runs here, else agent.service.",
    ),
    click.option(
        "--agent",
        metavar="SOCKET",
        expose_value=False,
        callback=_keep("agent"),
        help="The node agent's socket; default: every one that agent.socket matches here.",
    ),
)


def common_options(command: F) -> F:
    """Add the common options to a command or a group."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(context: click.Context) -> Settings:
    """The settings of this call."""
    return context.find_root().ensure_object(Settings)

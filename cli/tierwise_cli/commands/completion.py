"""`tierctl completion SHELL`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
      tierctl completion bash > /etc/bash_completion.d/tierctl
      tierctl completion zsh  > "${fpath[1]}/_tierctl"
      tierctl completion fish > ~/.config/fish/completions/tierctl.fish
    """
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(context.find_root().command, {}, "tierctl", "_TIERCTL_COMPLETE").source())

"""`lab`: builds and boots the virtual cluster, runs commands and tests on it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from tierwise_lab import image as images
from tierwise_lab.daemons import POLL_S, LabError
from tierwise_lab.frames import PAYLOAD
from tierwise_lab.guest import Guest
from tierwise_lab.layer import IN_GUEST, layer
from tierwise_lab.node import Command, VirtualNode
from tierwise_lab.options import REPOSITORY
from tierwise_lab.topology import DEFAULT

OUT = "/out"
FAILED = 125  # as docker and env: the tool failed, not the command


class Lab(click.Group):
    """The commands; LabError becomes one message and an exit code of its own."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LabError as error:
            click.echo(f"lab: {error}", err=True)
            context.exit(FAILED)


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that boots."""
    for option in (
        click.option("--topology", default=DEFAULT, show_default=True, help="Name in lab/topologies, or a .toml."),
        click.option("--nodes", default=1, show_default=True, help="Boot this many, on a network of their own."),
        click.option("--accel", default="tcg,thread=multi", show_default=True, help="QEMU's -accel."),
        click.option("--bare", is_flag=True, help="Only the machines: no Slurm, no Tierwise."),
    ):
        command = option(command)
    return command


@click.group(cls=Lab, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Virtual nodes with real kernels, real memory tiers and a real Slurm."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)


@main.command()
@click.option("--suite", default=images.SUITE, show_default=True, help="Debian suite: trixie (guest), forky (chroot).")
def build(suite: str) -> None:
    """Build the guest's image, or the directory tree of another suite."""
    if suite == images.SUITE:
        click.echo(layer(images.image(suite)))
    else:
        click.echo(images.chroot_root(suite))


@main.command(context_settings={"ignore_unknown_options": True})
@cluster_options
@click.option("--out", type=click.Path(path_type=Path), help="Afterwards copy the node's /out into this folder.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds the command may take.")
@click.argument("argv", nargs=-1, required=True)
def run(
    topology: str, nodes: int, accel: str, bare: bool, out: Path | None, timeout: float, argv: tuple[str, ...]
) -> None:
    """Run one command on the first node; its exit code is ours."""
    with Guest(topology, nodes, accel) as guest:
        env = {} if bare else guest.start_stack()
        sys.exit(_run(guest.nodes[0], argv, env, timeout, out))


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--topology", default=DEFAULT, show_default=True, help="Name in lab/topologies, or a .toml.")
@click.option("--out", type=click.Path(path_type=Path), help="Afterwards copy the node's /out into this folder.")
@click.option("--timeout", default=1200.0, show_default=True, help="Seconds the tests may take.")
@click.argument("arguments", nargs=-1, required=True, metavar="MODULE... [PYTEST_OPTION...]")
def test(topology: str, out: Path | None, timeout: float, arguments: tuple[str, ...]) -> None:
    """Run test modules by pytest on a node. They start the stack that they want."""
    argv = ["python3", "-m", "pytest", "-p", "no:cacheprovider", *map(_path_in_guest, arguments)]
    with Guest(topology) as guest:
        env = {"HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis"}  # the checkout is read-only there
        sys.exit(_run(guest.nodes[0], argv, env, timeout, out, cwd=str(IN_GUEST)))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=REPOSITORY / "build", help="Where demo.json goes.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds the demo may take.")
def demo(out: Path, timeout: float) -> None:
    """Five jobs on a node with three tiers: the plan of each beside what the kernel says."""
    with Guest(DEFAULT) as guest:
        command = ["python3", "-m", "tierwise_lab.demo", OUT]
        code = _run(guest.nodes[0], command, {}, timeout)
        guest.copy_out(f"{OUT}/demo.json", out)
    sys.exit(code)


@main.command()
@cluster_options
def up(topology: str, nodes: int, accel: str, bare: bool) -> None:
    """A shell on the first node; the nodes go when you leave it."""
    if not sys.stdin.isatty():
        raise LabError("`lab up` needs a terminal; for one command use `lab run -- COMMAND`")
    with Guest(topology, nodes, accel) as guest:
        env = {} if bare else guest.start_stack()
        sys.exit(_shell(guest.nodes[0], env))


def _path_in_guest(argument: str) -> str:
    """A test module's (or test's) path in the guest; any other argument as it is."""
    path, colons, test_name = argument.partition("::")
    if argument.startswith("-") or not Path(path).exists():
        return argument
    try:
        return f"{IN_GUEST / Path(path).resolve().relative_to(REPOSITORY)}{colons}{test_name}"
    except ValueError:
        raise LabError(f"{path} is not in {REPOSITORY}: the guest has only what is in the repository") from None


def _run(
    node: VirtualNode,
    argv: Sequence[str],
    env: Mapping[str, str],
    timeout: float,
    out: Path | None = None,
    cwd: str = "/root",
) -> int:
    """Run a command with its output on ours as it comes, bring its files back, and return its exit code."""
    command = node.start(argv, env=env, cwd=cwd, stdout=sys.stdout.buffer, stderr=sys.stderr.buffer)
    threading.Thread(target=_feed, args=(command,), name="lab-stdin", daemon=True).start()
    done = command.wait(timeout)
    if out is not None:
        node.copy_out(f"{OUT}/.", out)
    # as a shell says it
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _feed(command: Command) -> None:
    """Our standard input becomes the command's; a terminal doesn't (that is what `lab up` is for)."""
    while not sys.stdin.isatty() and (chunk := os.read(sys.stdin.fileno(), PAYLOAD)):
        command.write(chunk)
    command.end_input()


def _shell(node: VirtualNode, env: Mapping[str, str]) -> int:
    """A shell of the node on this terminal, until it ends."""
    env = {"TERM": os.environ.get("TERM", "linux"), **env}
    shell = node.start(["bash", "-l"], env=env, terminal=True, stdout=sys.stdout.buffer)

    def resize(*_: object) -> None:
        size = shutil.get_terminal_size()
        shell.resize(size.lines, size.columns)

    resize()
    signal.signal(signal.SIGWINCH, resize)
    with _raw(sys.stdin.fileno()):
        while not shell.done():
            if select.select([sys.stdin], [], [], POLL_S)[0]:
                shell.write(os.read(sys.stdin.fileno(), PAYLOAD))
    return shell.wait(0).returncode


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Hand every key to the node, Ctrl-C too."""
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _leave(number: int, frame: FrameType | None) -> None:
    """A signal handler: leave through SystemExit, so that every `with` ends its nodes."""
    raise SystemExit(128 + number)

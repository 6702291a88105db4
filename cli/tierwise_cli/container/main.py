"""`tierwise-exec`: stages the image, then becomes apptainer or singularity. What can't be had is said in one line, and
the plain command runs."""

import os
import stat
import sys
import time

from tierwise_cli.container.agent import Agent, paths
from tierwise_cli.container.commandline import parse

RUNTIMES = ("apptainer", "singularity")
DEFAULT_WAIT = 30
"""Seconds to wait for a copy that is not there yet, without TIERWISE_STAGE_WAIT and --tier-stage-wait."""
BEAT = 1
TYPE_CHECKING = False  # typing's own costs as much as all the rest of our start
if TYPE_CHECKING:
    from typing import NoReturn
HELP = """\
Usage: tierwise-exec [apptainer|singularity] exec|run|shell [OPTIONS] IMAGE [COMMAND...]

Runs a container from a copy of its image on fast memory: the first start on a node copies it there once, the next ones
are warm. All options are Apptainer's or Singularity's own (`apptainer exec --help`). Images that are files (SIF,
squashfs) or folders are staged; others (docker://...) run as they are. Inside, $TIERWISE_SCRATCH is there too, and
files staged by --tier-stage are read from memory under their own names.

A symlink named apptainer or singularity in your PATH does the same for existing scripts:
  ln -s "$(command -v tierwise-exec)" ~/bin/apptainer

TIERWISE_STAGE_WAIT=SECONDS waits so long for the copy (0: not at all), else the image is read where it is.
Without an agent on this node the plain command runs.
"""


def main() -> "NoReturn":
    """The console script."""
    runtime, arguments = _command(sys.argv)
    if arguments in (["-h"], ["--help"], ["help"], []) and not runtime:
        sys.stdout.write(HELP)
        sys.exit(0)
    program = _program(runtime)
    arguments = _staged(arguments)
    os.environ["TIERWISE_EXEC"] = str(os.getpid())
    try:
        os.execv(program, [os.path.basename(program), *arguments])  # noqa: S606  no shell is what we want
    except OSError as error:
        _fail(f"{program} could not be started: {error.strerror}")


def _command(argv: list[str]) -> tuple[str, list[str]]:
    """Which runtime was meant, empty where it is left to us, and its arguments."""
    name = os.path.basename(argv[0])
    if name in RUNTIMES:
        return name, argv[1:]
    if len(argv) > 1 and argv[1] in RUNTIMES:
        return argv[1], argv[2:]
    return "", argv[1:]


def _program(runtime: str) -> str:
    """The real program, the first in PATH that is not this one under its name."""
    if os.environ.get("TIERWISE_EXEC") == str(os.getpid()):
        _fail("it called itself: another tierwise-exec stands in PATH under the runtime's name")
    ours = os.path.realpath(sys.argv[0])
    for name in [runtime] if runtime else RUNTIMES:
        for folder in os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"):
            program = os.path.join(folder or ".", name)
            if os.access(program, os.X_OK) and os.path.isfile(program) and os.path.realpath(program) != ours:
                return program
    _fail(f"no {runtime or ' or '.join(RUNTIMES)} in PATH", 127)


def _staged(arguments: list[str]) -> list[str]:
    """The arguments with the staged image, scratch and staged data in them; as they were where nothing is staged."""
    parsed = parse(arguments)
    if parsed is None:
        return arguments
    image = os.path.abspath(arguments[parsed.image])
    if "://" in arguments[parsed.image] or parsed.writable:
        return arguments
    try:
        status = os.stat(image)
    except OSError:
        return arguments  # the runtime says so, in its own words
    answer = _ask(image, status)
    binds = _binds(answer)
    staged = answer.get("path") or arguments[parsed.image]
    return [*arguments[: parsed.image], *binds, staged, *arguments[parsed.image + 1 :]]


def _ask(image: str, status: os.stat_result) -> dict[str, str]:
    """What the agent says of the image: `path` in it once it is staged."""
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return {}
    question: dict[str, str | int] = {
        "op": "stage", "path": os.path.realpath(image), "device": status.st_dev, "inode": status.st_ino,
        "mtime_ns": status.st_mtime_ns,
    }  # fmt: skip
    try:
        agent = _connected()
        if agent is None:
            return {}
        return _followed(agent, question, image)
    except OSError as error:
        _say(f"the agent did not answer ({error.strerror or error}): {image} is read where it is")
        return {}


def _connected() -> Agent | None:
    sockets = paths()
    for path in sockets:
        try:
            return Agent(path)
        except OSError:
            continue
    _say(f"no agent runs here ({', '.join(sockets) or '/run/tierwise'}): the plain command runs")
    return None


def _followed(agent: Agent, question: dict[str, str | int], image: str) -> dict[str, str]:
    """Ask until the copy is whole, the agent refuses, or the wait is over; a wait that is felt is said."""
    wait = _wait()
    deadline = time.monotonic() + wait
    said = False
    while True:
        left = deadline - time.monotonic()
        step = max(min(BEAT, int(left + 0.999)), 0)
        answer = agent.ask({**question, "wait": step}, step + 5.0)
        if answer.get("status") != "ok":
            _say(f"{answer.get('reason', 'refused')}: the plain command runs")
            return {}
        if answer.get("state") == "ready":
            return answer
        size, copied = int(answer.get("size", 0)), int(answer.get("copied", 0))
        if time.monotonic() >= deadline:
            _say(f"{image} is not staged after {wait} s ({copied >> 20} of {size >> 20} MiB): it is read where it is")
            return answer
        if not said:
            _say(f"staging {image} ({size >> 20} MiB) on {answer.get('tier')}, for at most {wait} s")
            said = True


def _wait() -> int:
    for name in ("TIERWISE_STAGE_WAIT", "SLURM_SPANK_TIER_STAGE_WAIT"):
        text = os.environ.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 5:
            return min(int(text), 3600)
    return DEFAULT_WAIT


def _binds(answer: dict[str, str]) -> list[str]:
    """The options that show the job's scratch, its folder of links and its copies inside the container."""
    binds = []
    if scratch := os.environ.get("TIERWISE_SCRATCH"):
        binds.append(scratch)
    if links := os.environ.get("TIERWISE_STAGE"):
        binds.append(f"{links}:{links}:ro")
    for pair in answer.get("binds", "").split(","):
        copy, colon, source = pair.partition(":")
        if colon:
            binds.append(f"{copy}:{copy}:ro")
            binds.append(f"{copy}:{source}:ro")
    return [part for bind in binds for part in ("--bind", bind)]


def _say(text: str) -> None:
    sys.stderr.write(f"tierwise-exec: {text}\n")


def _fail(text: str, code: int = 255) -> "NoReturn":
    _say(text)
    sys.exit(code)


if __name__ == "__main__":
    main()

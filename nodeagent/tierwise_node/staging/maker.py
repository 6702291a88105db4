"""Runs the process that makes one copy, and reads how far it is."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tierwise_node.staging.source import Source, StageError, User

STALLED = 120.0
"""Seconds without a block after which a source is taken for dead."""
DYING = 5.0
"""Seconds that a killed process may take to end."""
MOST_LINE = 64 * 1024


class Made(NamedTuple):
    """A copy that is whole and verified, under its private name."""

    digest: str
    size: int
    public: bool


async def make(root: int, source: Source, who: User, folder: Path, told: Callable[[int], None]) -> Made:
    """Copy `source` into `folder` as `who`; `told` hears how many bytes are there. Raises StageError."""
    target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    order = {
        "root": root, "target": target, "path": source.path, "limit": source.size,
        "uid": who.uid, "gid": who.gid, "groups": who.groups,
    }  # fmt: skip
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", _program(), json.dumps(order),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, pass_fds=(root, target),
            cwd="/", env={"LC_ALL": "C.UTF-8"}, limit=MOST_LINE,
        )  # fmt: skip
    except OSError as error:
        raise StageError(f"{source.path} can't be staged: no process to copy it: {error.strerror}") from None
    finally:
        os.close(target)
    try:
        return await _followed(process, source, told)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):  # it may hang in a file system that does
            await asyncio.wait_for(process.wait(), DYING)


def _program() -> str:
    """The copying module's, with our own path: packages and checkouts put their libraries there themselves."""
    path = [folder for folder in sys.path if folder.startswith("/")]
    return f"import sys; sys.path[:] = {path!r}; from tierwise_node.staging.copying import main; main()"


async def _followed(process: asyncio.subprocess.Process, source: Source, told: Callable[[int], None]) -> Made:
    assert process.stdout is not None
    while True:
        try:
            line = await asyncio.wait_for(process.stdout.readline(), STALLED)
        except TimeoutError:
            raise StageError(f"{source.path} can't be staged: nothing could be read for {STALLED:g} s") from None
        if not line:
            code = await process.wait()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            raise StageError(f"{source.path} can't be staged: the process that copied it {how}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise StageError(f"{source.path} can't be staged: {said['error']}")
        if "digest" in said:
            return Made(said["digest"], said["size"], said["public"])
        told(said["copied"])

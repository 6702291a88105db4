"""A munged of our own: key, socket and log in the stack's directory."""

from __future__ import annotations

import secrets
from pathlib import Path

KEY_BYTES = 128


def install_key(target: Path, shared: Path | None) -> None:
    """Write the key that munged will use: a copy of `shared`, or a new one."""
    target.touch(mode=0o600)
    target.write_bytes(shared.read_bytes() if shared else secrets.token_bytes(KEY_BYTES))


def command(directory: Path) -> list[str]:
    """The argv of a munged in the foreground; its socket is `directory`/munge.sock.

    The directory must be 755 and owned by root, or munged refuses (clients of any uid reach the socket).
    """
    return [
        "munged",
        "--foreground",
        "--force",
        "--num-threads=2",
        f"--socket={directory}/munge.sock",
        f"--key-file={directory}/munge.key",
        f"--pid-file={directory}/munged.pid",
        f"--log-file={directory}/munged.log",
        f"--seed-file={directory}/munged.seed",
    ]

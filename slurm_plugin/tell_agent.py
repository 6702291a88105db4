"""Tells the node's agent that a job starts or ends here: `tell_agent.py prolog|epilog SOCKET`.

Called by the prolog and epilog scripts with the job in the environment (docs/protocol.md, *prolog, epilog*). It
stands alone, so that `python3 -IS` starts it in a few milliseconds and no package of the site's can break it. Exits
with 0 when the agent took the message, else says why on standard error (slurmd logs it) and exits with 1.
"""

from __future__ import annotations

import _socket  # what `socket` is made of: importing that would double our start
import os
import sys
import time

TYPE_CHECKING = False  # typing's own would cost half of our start
if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_S = {"prolog": 1.5, "epilog": 5.0}
"""A job waits for its prolog; after the epilog only the node's next job does."""
MAX_ANSWER = 65536
# What is not one of these bytes is percent-encoded: a comment is any text that its user liked.
SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:,/@+")
MAX_VALUE = 4096


def fields(operation: str, environment: Mapping[bytes, bytes]) -> list[tuple[str, bytes]]:
    """The message about this job, from what slurmd has put into the environment."""
    job = [
        ("op", operation.encode()),
        ("job_id", environment.get(b"SLURM_JOB_ID", b"")),
        ("uid", environment.get(b"SLURM_JOB_UID", b"")),
    ]
    if operation == "prolog":
        job += [
            ("comment", environment.get(b"SLURM_JOB_COMMENT", b"")),
            ("tier", environment.get(b"SPANK_TIER", b"")),
            ("restart", environment.get(b"SLURM_JOB_RESTART_COUNT", b"0")),
        ]
        for option in ("stage", "stage_wait", "scratch"):
            if value := environment.get(b"SPANK_TIER_" + option.upper().encode()):
                job.append((option, value))
    return job


def escape(value: bytes) -> str:
    """`value` percent-encoded UTF-8, at most its last MAX_VALUE bytes: a comment's token is at its end."""
    text = value[-MAX_VALUE:].decode("utf-8", "replace").encode()
    return "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in text)


def encode(pairs: list[tuple[str, bytes]]) -> bytes:
    """The lines of a message, its closing empty line included."""
    return ("".join(f"{key}={escape(value)}\n" for key, value in pairs) + "\n").encode("ascii")


def ask(path: str, message: bytes, timeout: float) -> bytes:
    """What the daemon at `path` answers; OSError when it can't be had in time."""
    deadline = time.monotonic() + timeout
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        agent.settimeout(timeout)
        agent.connect(path)
        agent.sendall(message)
        answer = b""
        while not answer.endswith(b"\n\n") and len(answer) < MAX_ANSWER:
            agent.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = agent.recv(4096)
            if not chunk:
                raise ConnectionError("it left before its answer was whole")
            answer += chunk
    finally:
        agent.close()
    return answer


def tell(path: str, pairs: list[tuple[str, bytes]], timeout: float) -> str:
    """Hand a message to the daemon at `path`; why it did not take it, empty: it did."""
    try:
        answer = ask(path, encode(pairs), timeout)
    except OSError as error:
        return f"no answer from {path}: {error.strerror or error}"
    if b"status=ok\n" not in answer:
        return f"{path} answered {answer[:200]!r}"
    return ""


def main(operation: str, path: str) -> str:
    return tell(path, fields(operation, os.environb), PATIENCE_S[operation])


if __name__ == "__main__":
    if wrong := main(*sys.argv[1:]):
        sys.exit(f"tierwise: {sys.argv[1]}: {wrong}")

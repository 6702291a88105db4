"""Tells the node's agent that a job starts or ends here: `tell_agent.py prolog|epilog SOCKET`.

Called by the prolog and epilog scripts with the job in the environment (docs/protocol.md, *prolog, epilog*). It stands
alone, so that `python3 -IS` starts it in a few milliseconds and no package of the site's can break it. Exits with 0 when
the agent took the message, else says why on standard error (slurmd logs it) and exits with 1.
"""

import os
import socket
import sys
import time

TIMEOUT_S = 1.5
MAX_ANSWER = 65536
# What is not one of these bytes is percent-encoded: a comment is any text that its user liked.
SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:,/@+")
MAX_COMMENT = 4096


def fields(operation, environment):
    """The message for this job, as pairs of text and bytes."""
    job = [("op", operation.encode()), ("job_id", environment.get(b"SLURM_JOB_ID", b"")),
           ("uid", environment.get(b"SLURM_JOB_UID", b""))]
    if operation == "prolog":
        job += [
            # Our token stands at the end of the comment.
            ("comment", utf8(environment.get(b"SLURM_JOB_COMMENT", b"")[-MAX_COMMENT:])),
            ("tier", environment.get(b"SPANK_TIER", b"")),
            ("restart", environment.get(b"SLURM_JOB_RESTART_COUNT", b"0")),
        ]
    return job


def utf8(text):
    """`text` with what is no UTF-8 replaced: the agent reads nothing else."""
    return text.decode("utf-8", "replace").encode()


def encode(pairs):
    """The lines of a message, its closing empty line included."""
    lines = [f"{key}={''.join(chr(b) if b in SAFE else f'%{b:02X}' for b in value)}\n" for key, value in pairs]
    return ("".join(lines) + "\n").encode("ascii")


def ask(path, message):
    """The first line of the agent's answer; OSError when it can't be had in time."""
    deadline = time.monotonic() + TIMEOUT_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.settimeout(TIMEOUT_S)
        agent.connect(path)
        agent.sendall(message)
        answer = b""
        while not answer.endswith(b"\n\n") and len(answer) < MAX_ANSWER:
            agent.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = agent.recv(4096)
            if not chunk:
                break
            answer += chunk
    return answer


def main(operation, path):
    try:
        answer = ask(path, encode(fields(operation, os.environb)))
    except OSError as error:
        return f"no answer from {path}: {error.strerror or error}"
    if b"status=ok\n" not in answer:
        return f"{path} answered {answer[:200]!r}"
    return 0


if __name__ == "__main__":
    outcome = main(*sys.argv[1:])
    sys.exit(outcome and f"tierwise: {sys.argv[1]}: {outcome}")

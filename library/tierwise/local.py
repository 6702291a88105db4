"""The line protocol's client: one question to a daemon on this host (docs/protocol.md)."""

import socket
import time
from collections.abc import Mapping

from tierwise.errors import ProtocolError, RefusedError, UnavailableError
from tierwise.lines import decode, encode

MAX_ANSWER = 16 * 1024 * 1024
"""tierctl reads large JSON from the agent; the agent, which is root, reads at most lines.MAX_MESSAGE from anybody."""


def ask(path: str, fields: Mapping[str, str | int], timeout: float = 2.0) -> dict[str, str]:
    """Send one message to the unix socket at `path` and return the answer's fields; `timeout` seconds over all.

    Raises UnavailableError (nobody listens, or too late), RefusedError (`status=refused`) and ProtocolError.
    """
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        try:
            peer.settimeout(timeout)
            peer.connect(path)
            peer.sendall(encode(fields))
            message = _receive(peer, deadline)
        except TimeoutError:
            raise UnavailableError(f"no answer from {path} within {timeout:g} s") from None
        except OSError as error:
            raise UnavailableError(f"could not ask {path}: {error.strerror or error}") from None
    answer = decode(message, MAX_ANSWER)
    if answer.get("status") in ("refused", "error"):
        raise RefusedError(answer.get("reason", "refused without a reason"))
    return answer


def _receive(peer: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n\n"):
        peer.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = peer.recv(65536)
        if not chunk:
            raise ProtocolError("the daemon closed the connection before its answer was whole")
        received += chunk
        if len(received) > MAX_ANSWER:
            raise ProtocolError(f"an answer of more than {MAX_ANSWER} bytes")
    return bytes(received)

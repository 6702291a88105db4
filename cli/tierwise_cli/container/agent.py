"""tierwise-exec's line to the agent (docs/protocol.md, *stage*). tierwise.local does the same, but its imports would
cost a container's start more than its question."""

import _socket
import os
import time

MAX_ANSWER = 64 * 1024
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:,/@+ ")


def paths() -> list[str]:
    """The sockets to ask, in order: as the SPANK plugin or the user says, this task's node's, every one here."""
    if given := os.environ.get("TIERWISE_SOCKET"):
        return [given]
    folder = "/run/tierwise"
    if node := os.environ.get("SLURMD_NODENAME"):
        return [f"{folder}/agent-{node}.sock"]
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if name.startswith("agent-") and name.endswith(".sock")]


class Agent:
    """One connection; it carries one question after the other. Raises OSError where nobody listens."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._peer.settimeout(2.0)
        self._peer.connect(path)

    def ask(self, fields: dict[str, str | int], timeout: float) -> dict[str, str]:
        """The answer's fields. Raises OSError (too late, gone, nonsense)."""
        deadline = time.monotonic() + timeout
        self._peer.settimeout(timeout)
        self._peer.sendall(encode(fields))
        answer = b""
        while not answer.endswith(b"\n\n"):
            self._peer.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = self._peer.recv(4096)
            if not chunk or len(answer) > MAX_ANSWER:
                raise ConnectionError("it left before its answer was whole")
            answer += chunk
        return decode(answer)


def encode(fields: dict[str, str | int]) -> bytes:
    """The lines of a message, percent-encoded, with its closing empty line."""
    lines = (f"{key}={_escape(str(value))}\n" for key, value in fields.items())
    return ("".join(lines) + "\n").encode()


def decode(message: bytes) -> dict[str, str]:
    """The fields of an answer."""
    fields = {}
    for line in message.decode("ascii", "replace").split("\n"):
        key, _, value = line.partition("=")
        if key:
            fields[key] = _unescape(value)
    return fields


def _escape(value: str) -> str:
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in os.fsencode(value))


def _unescape(value: str) -> str:
    first, *rest = value.encode("ascii", "replace").split(b"%")
    parts = [first]
    for part in rest:
        try:
            parts.append(bytes.fromhex(part[:2].decode()) + part[2:])
        except ValueError:
            parts.append(b"%" + part)
    return os.fsdecode(b"".join(parts))

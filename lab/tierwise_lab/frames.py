"""The frames between the host and a virtual node, over one virtio-serial port: many commands share it.

A frame is a header (kind, command number, length) and that many bytes. Only the standard library: the guest's end
starts before anything else is there.

    host → guest   START (JSON: argv, env, cwd, user, terminal), STDIN (no bytes: end of input), SIGNAL, RESIZE
    guest → host   READY, STDOUT, STDERR, EXIT (the exit code in decimal, negative for a signal)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum

HEADER = struct.Struct("!BII")
PAYLOAD = 1 << 16
PORT_NAME = "tierwise.lab"


class Kind(IntEnum):
    """What a frame says."""

    READY = 1
    START = 2
    STDIN = 3
    SIGNAL = 4
    RESIZE = 5
    STDOUT = 6
    STDERR = 7
    EXIT = 8


def frame(kind: Kind, command: int, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return HEADER.pack(kind, command, len(payload)) + payload


class Unframer:
    """Cuts a byte stream into frames and hands each to `handle(kind, command, payload)`."""

    def __init__(self, handle: Callable[[Kind, int, bytes], None]) -> None:
        self._handle = handle
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self._rest += chunk
        while len(self._rest) >= HEADER.size:
            kind, command, length = HEADER.unpack_from(self._rest)
            end = HEADER.size + length
            if len(self._rest) < end:
                return
            payload = bytes(self._rest[HEADER.size : end])
            del self._rest[:end]
            self._handle(Kind(kind), command, payload)

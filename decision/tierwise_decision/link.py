"""The line between the service and its hook's process: what they tell each other, as frames on a socket pair.

A frame is its length in four bytes and a message in msgpack. Frames are taken whole and in order, before either side
looks at anybody who came later: what an agent was answered, the next submission knows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from tierwise_decision.known import News
from tierwise_decision.requested import Requested
from tierwise_policy.signature import Signature

Answer = dict[str, str | int]
_MOST_WAITING = 256 * 1024 * 1024
"""Bytes that may wait for the other side. It hangs if there are more."""
_LENGTH = 4
Heard = TypeVar("Heard")


class Listening(msgspec.Struct, frozen=True, tag=True):
    """The hook's process answers from now on."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It can't listen."""

    reason: str


class Submitted(msgspec.Struct, frozen=True, tag=True):
    """A submission has got a token."""

    request: Requested
    kind: Signature


class Excluded(msgspec.Struct, frozen=True, tag=True):
    """The hook writes these nodes onto the job with this token."""

    token: str
    names: tuple[str, ...]


class Timed(msgspec.Struct, frozen=True, tag=True):
    """A submission was answered."""

    status: str
    seconds: float


class Complained(msgspec.Struct, frozen=True, tag=True):
    """A complaint, which the hook's process has logged; to be counted."""

    kind: str


class Question(msgspec.Struct, frozen=True, tag=True):
    """What only the service can answer: slurmctld's scripts tell of the end of a job."""

    number: int
    fields: dict[str, str]


class Answered(msgspec.Struct, frozen=True, tag=True):
    """The answer to the question of that number."""

    number: int
    answer: Answer


class Stop(msgspec.Struct, frozen=True, tag=True):
    """The service stops: take no more submissions, hand over what is under way, and end."""


FromHook = Listening | Failed | Submitted | Excluded | Timed | Complained | Question
FromService = News | Answered | Stop


class Link(asyncio.Protocol, Generic[Heard]):
    """One end. `heard` is called with each message; `lost` is set once the other end has gone."""

    def __init__(self, kind: Any, heard: Callable[[Heard], None]) -> None:
        """`kind`: the type of what the other side says."""
        self._decoder: msgspec.msgpack.Decoder[Heard] = msgspec.msgpack.Decoder(kind)
        self._heard = heard
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's. Raises nothing that `heard` doesn't: then the link is closed."""
        received = self._received
        received += data
        start = 0
        while len(received) - start >= _LENGTH:
            end = start + _LENGTH + int.from_bytes(received[start : start + _LENGTH])
            if len(received) < end:
                break
            self._heard(self._decoder.decode(bytes(received[start + _LENGTH : end])))
            start = end
        del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's."""
        self._transport = None
        self.lost.set()

    def say(self, message: object) -> None:
        """Tell the other side, in no time. What is said to a side that has gone is lost."""
        if self._transport is None:
            return
        self._transport.write(frame(message))
        if self._transport.get_write_buffer_size() > _MOST_WAITING:
            self._transport.abort()

    async def unless_lost(self, awaited: Awaitable[object], timeout: float | None = None) -> bool:
        """Wait for something as long as the other end is there, and at most `timeout` seconds. Whether it has come;
        what has not is cancelled."""
        both = [asyncio.ensure_future(one) for one in (awaited, self.lost.wait())]
        try:
            await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return both[0].done()
        finally:
            for one in both:
                one.cancel()

    def close(self) -> None:
        """Say no more. What was said still goes out."""
        if self._transport:
            self._transport.close()


def frame(message: object) -> bytes:
    """A message as it is sent."""
    encoded = msgspec.msgpack.encode(message)
    return len(encoded).to_bytes(_LENGTH) + encoded

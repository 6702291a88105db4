"""The outermost ASGI layer: whole, bounded requests in; whole answers out. What fails inside becomes an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from tierwise.errors import TierwiseError
from tierwise_decision.complaints import Complaints

MAX_BODY = 8 * 1024 * 1024
PATIENCE = 10.0
"""Seconds for a request's body to become whole."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class HttpError(TierwiseError):
    """A request ends here with `status`, this message as its detail, and further headers."""

    def __init__(self, status: int, detail: str, kind: str = "http_junk", headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = headers or []


class Answer(msgspec.Struct):
    """A whole HTTP answer."""

    status: int
    headers: Headers
    body: bytes


Handler = Callable[[Scope, bytes], Awaitable[Answer]]


class Bounded:
    """ASGI around a handler of whole requests. Counts and answers what is refused."""

    def __init__(self, handler: Handler, complain: Complaints) -> None:
        self._handler = handler
        self._complain = complain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._handler(scope, await _body(scope, receive))
        except HttpError as error:
            self._complain(error.kind, f"{scope['method']} {scope['path']}: {error}")
            answer = refusal(error.status, str(error))
            answer.headers += error.headers
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})


def refusal(status: int, detail: str) -> Answer:
    """An error as the protocol wants it. The connection ends with it: what follows of the request is not read."""
    body = msgspec.json.encode({"status_code": status, "detail": detail})
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
    return Answer(status, headers, body)


async def call(app: App, scope: Scope, body: bytes) -> Answer:
    """Ask an ASGI application with a whole request and collect its whole answer."""
    answer = Answer(500, [], b"")
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = list(message.get("headers", ()))
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The first value of a header (names are lower case in ASGI), `` without one."""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


async def _body(scope: Scope, receive: Receive) -> bytes:
    length = header(scope["headers"], b"content-length")
    if length.isdigit() and int(length[:19]) > MAX_BODY:
        raise HttpError(413, f"a request's body has at most {MAX_BODY} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HttpError(400, "the peer left in the middle of its request")
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    raise HttpError(413, f"a request's body has at most {MAX_BODY} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise HttpError(408, f"the request's body did not come within {PATIENCE:g} s") from None

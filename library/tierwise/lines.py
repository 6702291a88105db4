"""The line protocol that SPANK, Lua and the prolog speak on unix sockets (docs/protocol.md).

A message is `key=value` lines, then an empty line. Keys are lower-case words, values are percent-encoded UTF-8
(RFC 3986: `%` and what is not printable ASCII must be encoded, anything may be). Bounded: neither side parses anything
deep.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from tierwise.errors import ProtocolError

MAX_MESSAGE = 64 * 1024
MAX_KEYS = 64
_LARGEST = (1 << 63) - 1
NO_UID = (1 << 32) - 1
_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SAFE = "-._~:,/@+ "


def encode(fields: Mapping[str, str | int]) -> bytes:
    """The message for `fields`, its closing empty line included. Raises ProtocolError for a wrong key."""
    lines = []
    for key, value in fields.items():
        if not _KEY.fullmatch(key):
            raise ProtocolError(f"{key!r} can't be a key of a line message")
        lines.append(f"{key}={quote(str(value), safe=_SAFE)}\n")
    return "".join([*lines, "\n"]).encode()


def decode(message: bytes, limit: int = MAX_MESSAGE) -> dict[str, str]:
    """The fields of a message of at most `limit` bytes, its closing empty line or not. Raises ProtocolError."""
    if len(message) > limit:
        raise ProtocolError(f"a message of {len(message)} bytes: at most {limit} are read")
    try:
        lines = message.decode("ascii").rstrip("\n").split("\n")
    except UnicodeDecodeError:
        raise ProtocolError("a message holds bytes that are not ASCII") from None
    if len(lines) > MAX_KEYS:
        raise ProtocolError(f"a message of {len(lines)} lines: at most {MAX_KEYS} are read")
    fields: dict[str, str] = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals or not _KEY.fullmatch(key) or key in fields:
            raise ProtocolError("a line is not key=value with a new key")
        try:
            fields[key] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise ProtocolError(f"the value of {key} is not UTF-8") from None
        if "\0" in fields[key]:
            raise ProtocolError(f"the value of {key} holds a NUL byte")
    return fields


def number(fields: Mapping[str, str], key: str, default: int | None = None) -> int:
    """A whole number that fits into 63 bits; `default` where the field is empty. Raises ProtocolError."""
    text = fields.get(key, "")
    if not text and default is not None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _LARGEST:
        raise ProtocolError(f"{key} must be a whole number")
    return int(text)


def user_id(fields: Mapping[str, str]) -> int:
    """The message's `uid`: what the kernel has one for (2^32 - 1 is nobody's). Raises ProtocolError."""
    uid = number(fields, "uid")
    if uid >= NO_UID:
        raise ProtocolError(f"uid must be less than {NO_UID}")
    return uid

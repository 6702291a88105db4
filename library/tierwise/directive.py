"""The grammar of `--tier`: one of two parsers, the other is csrc/spank/directive.c.

`CLASS[:SIZE][,CLASS[:SIZE]…]`, or `auto` or `off` alone. CLASS is lat, bw, cap or shl in either case; SIZE is per
node, bytes with K/M/G/T, or a percentage of the job's memory there; one class may leave it out and takes the rest.
tests/directive_cases.tsv holds the cases that both parsers must pass, with the same answer.
"""

from typing import Literal

import msgspec

from tierwise.errors import DirectiveError
from tierwise.units import parse_size

MemoryClass = Literal["LAT", "BW", "CAP", "SHL"]
CLASSES: tuple[MemoryClass, ...] = ("LAT", "BW", "CAP", "SHL")
MAX_LENGTH = 128

_REASONS = {
    "empty": "nothing given: use --tier=CLASS[:SIZE],… with lat, bw, cap or shl, or auto or off",
    "too-long": f"longer than {MAX_LENGTH} bytes",
    "bad-character": "only letters, digits, ':', ',' and '%' may stand in it",
    "unknown-class": "unknown class: use lat, bw, cap or shl (auto and off stand alone)",
    "duplicate-class": "this class was given before",
    "bad-size": "not a size: use a whole number with K, M, G or T, or a percentage",
    "zero-size": "a size must be more than zero",
    "size-too-large": "a size can't be more than 8 EiB",
    "bad-percent": "a percentage lies between 1 and 100",
    "percent-sum": "the percentages add up to more than 100",
    "two-open": "only one class may leave out its size",
}
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:,%")


class ClassRequest(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One class of a request: its size in bytes, or in percent of the job's memory, or neither (the rest)."""

    memory_class: MemoryClass
    size: int | None = None
    percent: int | None = None


class Request(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a job asks for. `mode` is `classes` with at least one class, `auto` or `off` without any."""

    mode: Literal["classes", "auto", "off"]
    classes: tuple[ClassRequest, ...] = ()

    def __str__(self) -> str:
        """The canonical directive: lower case, sizes in bytes. Parsing it gives an equal Request."""
        return ",".join(_item(part) for part in self.classes) or self.mode


def parse_directive(text: str) -> Request:
    """Parse what stands after `--tier=`. Raises DirectiveError."""
    if not text:
        raise _error("empty")
    if len(text.encode(errors="replace")) > MAX_LENGTH:
        raise _error("too-long")
    if not _ALLOWED.issuperset(text):
        raise _error("bad-character")
    if text.lower() in ("auto", "off"):
        return Request("auto" if text.lower() == "auto" else "off")
    classes: list[ClassRequest] = []
    percent = 0
    for number, item in enumerate(text.split(","), start=1):
        part = _parse_item(item, number)
        if any(part.memory_class == other.memory_class for other in classes):
            raise _error("duplicate-class", number)
        if _is_open(part) and any(_is_open(other) for other in classes):
            raise _error("two-open", number)
        percent += part.percent or 0
        if percent > 100:
            raise _error("percent-sum", number)
        classes.append(part)
    return Request("classes", tuple(classes))


def _parse_item(item: str, number: int) -> ClassRequest:
    name, colon, size = item.partition(":")
    upper = name.upper()
    if upper not in CLASSES:
        raise _error("unknown-class", number)
    if not colon:
        return ClassRequest(upper)
    if size.endswith("%"):
        if not size[:-1].isdigit():
            raise _error("bad-size", number)
        digits = size[:-1].lstrip("0")
        if not digits or len(digits) > 3 or int(digits) > 100:
            raise _error("bad-percent", number)
        return ClassRequest(upper, percent=int(digits))
    try:
        return ClassRequest(upper, size=parse_size(size))
    except ValueError as reason:
        code = next(code for code, text in _REASONS.items() if text == str(reason))
        raise _error(code, number) from None


def _item(part: ClassRequest) -> str:
    name = part.memory_class.lower()
    if part.percent is not None:
        return f"{name}:{part.percent}%"
    return name if part.size is None else f"{name}:{part.size}"


def _is_open(part: ClassRequest) -> bool:
    return part.size is None and part.percent is None


def _error(code: str, item: int = 0) -> DirectiveError:
    return DirectiveError(code, item, _REASONS[code])

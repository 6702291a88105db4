"""How single values look: text of others made harmless, people's units, users, times."""

import pwd
import unicodedata
from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text

from tierwise.directive import parse_directive
from tierwise.errors import DirectiveError
from tierwise.tiers import KINDS, TierName
from tierwise.units import format_size

GOOD, BAD, WARN, FAINT, HEAD = "green", "bold red", "yellow", "dim", "bold"


def safe(text: str) -> str:
    """`text` without control characters: reasons and directives are other people's, and a terminal obeys escapes."""
    return "".join("�" if unicodedata.category(char)[0] == "C" else char for char in text)


def words(text: object, style: str = "") -> Text:
    """A cell; cut, never wrapped."""
    return Text(safe(str(text)), style, no_wrap=True, overflow="ellipsis")


def size(value: int, style: str = "") -> Text:
    """Bytes for people."""
    return Text(format_size(value), style)


def difference(value: int, style: str = "") -> Text:
    """Bytes with their sign; nothing for zero."""
    return Text(f"+{format_size(value)}" if value > 0 else format_size(value) if value else "0", style)


def bandwidth(value: int) -> str:
    """Bytes per second as GB/s, as vendors and HMAT count them."""
    return f"{value / 1e9:.3g} GB/s"


def duration(seconds: float) -> str:
    """A time span in its two largest units: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for large, large_name, small, small_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= large:
            return f"{whole // large} {large_name} {whole % large // small} {small_name}"
    return f"{whole} s"


def directive(text: str) -> str:
    """A directive with sizes for people (`lat:64M,cap`); as it is where it does not parse."""
    try:
        request = parse_directive(text)
    except DirectiveError:
        return safe(text) or "none"
    classes = (_class(part.memory_class, part.size, part.percent) for part in request.classes)
    return ",".join(classes) or request.mode


def user(uid: int) -> str:
    """The user's name where this host knows it, else the uid."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def tier_order(names: Iterable[TierName]) -> list[TierName]:
    """Tiers as people expect them, for lack of ranks: dram, pmem, cxl, then others by name."""
    return sorted(set(names), key=lambda name: (KINDS.index(name) if name in KINDS else len(KINDS), name))


def by_tier(found: Mapping[TierName, int]) -> str:
    """`64 MiB dram, 236 MiB cxl`; tiers that hold nothing are left out."""
    return ", ".join(f"{format_size(found[name])} {name}" for name in tier_order(found) if found[name]) or "0"


def briefly(found: Mapping[TierName, int]) -> str:
    """As by_tier, without decimals from 10 on: for places where room is scarce."""
    names = [name for name in tier_order(found) if found[name]]
    return ", ".join(f"{_short(found[name])} {name}" for name in names) or "0"


def table(*columns: str, right: tuple[str, ...] = (), cut: tuple[str, ...] = ()) -> Table:
    """A table without lines; columns in `right` hold numbers, those in `cut` give way where it is narrow."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HEAD, show_edge=False)
    for column in columns:
        head = Text(column, no_wrap=True, overflow="ellipsis")
        made.add_column(head, justify="right" if column in right else "left", no_wrap=column not in cut)
    return made


def _short(value: int) -> str:
    number, _, unit = format_size(value).partition(" ")
    return f"{float(number):.0f} {unit}" if float(number) >= 10 else f"{number} {unit}"


def _class(name: str, amount: int | None, percent: int | None) -> str:
    if percent is not None:
        return f"{name.lower()}:{percent}%"
    if amount is None:
        return name.lower()
    for unit, letter in ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if amount % unit == 0:
            return f"{name.lower()}:{amount // unit}{letter}"
    return f"{name.lower()}:{amount}"

"""Bytes, nanoseconds and bytes per second inside; people's units only here, at the edge."""

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
LARGEST = (1 << 63) - 1
"""The largest size we accept, in bytes: what a signed 64-bit integer holds (SQL, C and Lua agree on it)."""

_SUFFIX = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}


def parse_size(text: str) -> int:
    """Bytes of a whole number with an optional K, M, G or T (powers of 1024, either case).

    Raises ValueError with a reason when it is not a number, is zero, or is larger than LARGEST.
    """
    digits, suffix = (text[:-1], text[-1].upper()) if text and text[-1].isalpha() else (text, "")
    if not digits.isascii() or not digits.isdigit() or suffix not in _SUFFIX:
        raise ValueError("not a size: use a whole number with K, M, G or T, or a percentage")
    significant = digits.lstrip("0")
    if not significant:
        raise ValueError("a size must be more than zero")
    size = int(significant[:20]) * _SUFFIX[suffix]
    if len(significant) > 19 or size > LARGEST:
        raise ValueError("a size can't be more than 8 EiB")
    return size


def format_size(size: int) -> str:
    """A size in bytes for people: at most one decimal, `0`, `512 B`, `64 MiB`, `1.5 GiB`."""
    if size == 0:
        return "0"
    sign, value = ("-", -size) if size < 0 else ("", size)
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if value >= unit:
            text = f"{value / unit:.1f}".removesuffix(".0")
            return f"{sign}{text} {name}"
    return f"{sign}{value} B"


def mib_ceil(size: int) -> int:
    """Bytes as whole MiB, rounded up: the unit of our GRES counts and of Slurm's memory."""
    return -(-size // MIB)

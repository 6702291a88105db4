"""Files that tell the next agent what this one did to the host: whole at every moment, also when it is killed."""

from pathlib import Path

import msgspec


def replace(path: Path, value: object) -> None:
    """Put `value` there as JSON in one step. Raises OSError."""
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(value))
    new.replace(path)

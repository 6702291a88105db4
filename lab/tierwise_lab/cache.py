"""What the lab builds is kept outside the repository, each thing in a folder named by a hash of its inputs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = {"layer": 6, "chroot": 4, "image": 3, "site": 3, "bench": 2}
"""How many of each kind stay; the ones used last. A removed one that a guest still runs on lives until it ends."""


def folder() -> Path:
    """TIERWISE_CACHE, or `tierwise` in the user's cache directory."""
    if chosen := os.environ.get("TIERWISE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tierwise"


def hash_of(values: Iterable[str], files: Iterable[Path] = (), relative_to: Path = Path("/")) -> str:
    """A short name for these inputs: the values, and each file's name, mode and bytes."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.encode() + b"\0")
    for path in sorted(files):
        digest.update(f"{path.relative_to(relative_to)}\0{path.stat().st_mode:o}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def entry(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of `kind` for `key`. If it is not there, `make` fills a new one, which then appears whole or not
    at all; a second process that wants one of the same kind waits meanwhile."""
    place = folder() / f"{kind}-{key}"
    if not place.is_dir():
        folder().mkdir(parents=True, exist_ok=True)
        with _locked(kind):
            if not place.is_dir():
                making = Path(tempfile.mkdtemp(prefix=f"{kind}-making-", dir=folder()))
                try:
                    making.chmod(0o755)
                    make(making)
                    making.rename(place)
                finally:
                    shutil.rmtree(making, ignore_errors=True)
            os.utime(place)
            _prune(kind)
    os.utime(place)
    return place


@contextmanager
def _locked(kind: str) -> Iterator[None]:
    with (folder() / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prune(kind: str) -> None:
    """Remove what was not used for longest, and, as we hold the lock, what a killed process left half made."""
    for left in folder().glob(f"{kind}-making-*"):
        shutil.rmtree(left, ignore_errors=True)
    whole = sorted(folder().glob(f"{kind}-*"), key=lambda place: place.stat().st_mtime, reverse=True)
    for old in whole[KEPT[kind] :]:
        shutil.rmtree(old, ignore_errors=True)

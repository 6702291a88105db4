"""The files of regions that end with their holders: memfds of root's, whose names say what they are."""

import fcntl
import os
import re
import stat
from typing import NamedTuple

_NAME = re.compile(r"/memfd:tierwise/(\d+)/([A-Za-z,:0-9_]*)/([A-Za-z0-9][A-Za-z0-9._-]{0,63}) \(deleted\)")


class Found(NamedTuple):
    """A region's file that a process holds, opened for us."""

    uid: int
    hint: str
    name: str
    file: int


def make(uid: int, name: str, hint: str) -> int:
    """A new one. Sealed against shrinking, so that no holder gets SIGBUS from another's truncation."""
    made = os.memfd_create(f"tierwise/{uid}/{hint}/{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(made, 0o600)
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        # The first descriptor of a memfd is not counted as a writer, and a lease would never be given on it.
        return os.open(f"/proc/self/fd/{made}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(made)


def find(link: str) -> Found | None:
    """What is behind a descriptor of another process (/proc/PID/fd/N), if it is a region's. Raises OSError.

    A memfd that root made and named so is ours: nobody else can make one of root's.
    """
    if not _NAME.fullmatch(os.readlink(link)):
        return None
    pinned = os.open(link, os.O_PATH | os.O_CLOEXEC)  # its process may put another file there at any time
    try:
        ours = f"/proc/self/fd/{pinned}"
        found = _NAME.fullmatch(os.readlink(ours))
        if not found or not _is_roots_and_unlinked(os.fstat(pinned)):
            return None
        file = os.open(ours, os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(pinned)
    if not _is_sealed(file):
        os.close(file)
        return None
    return Found(int(found[1]), found[2], found[3], file)


def _is_roots_and_unlinked(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 0


def _is_sealed(file: int) -> bool:
    """Whether it is sealed as ours are. A name proves nothing: in a mount namespace of their own, users may show any
    file of root's under any name. Only a memfd can have this seal, and a memfd can't be shown elsewhere."""
    try:
        return bool(fcntl.fcntl(file, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:
        return False

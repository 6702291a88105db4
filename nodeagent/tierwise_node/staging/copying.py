"""Makes one copy, as its owner: `main`, in a process of its own with the order as its argument (maker.py).

Started as root with two open folders, the host's root and an empty one for the copy. Before it looks at anything it
becomes the user for good, with nobody able to trace it. Extended attributes, setuid bits and write permissions stay
behind. It reads what it wrote again and compares the digests. Its last line on standard output is JSON: `{"digest": …,
"size": …, "public": …}` or `{"error": …}`; lines before it say how far it is.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import resource
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tierwise_node.staging.source import (
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    StageError,
    open_below,
    open_source,
    walk,
)

DATA = "data"
"""The copy's name in its folder."""
BLOCK = 1 << 20
BEAT = 0.25
"""Seconds between two lines that say how far it is."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_EMPTY = bytes(BLOCK)
_BELOW = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
Told = Callable[[int], None]


class Copying:
    """One copy: at most `limit` bytes are written into the open folder `target`. `told` hears of each block."""

    def __init__(self, target: int, limit: int, told: Told) -> None:
        self._target, self._limit, self._told = target, limit, told
        self.size = 0
        self.public = True
        """Whether everybody may read each file in it; the way to it is for the agent to judge."""

    def copy(self, opened: int) -> str:
        """Copy an open file or folder as DATA and return its digest. Raises OSError and StageError."""
        if stat.S_ISREG(os.fstat(opened).st_mode):
            digest, _ = self._file(opened, self._target, DATA)
            return digest
        return self._folder(opened)

    def _folder(self, opened: int) -> str:
        whole = hashlib.sha256(b"folder\0")
        os.mkdir(DATA, 0o700, dir_fd=self._target)
        copy = open_below(self._target, DATA, os.O_RDONLY | os.O_DIRECTORY, _BELOW)
        folders = [("", os.fstat(opened))]
        self.public &= _anybody(folders[0][1])
        for name, status in walk(opened):
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(name, 0o700, dir_fd=copy)
                folders.append((name, status))
            if not stat.S_ISLNK(status.st_mode):
                self.public &= _anybody(status)
            whole.update(self._entry(opened, copy, name, status))
        for name, status in reversed(folders):
            os.chmod(name or ".", status.st_mode & 0o555, dir_fd=copy)
        os.close(copy)
        return whole.hexdigest()

    def _entry(self, opened: int, copy: int, name: str, status: os.stat_result) -> bytes:
        """Copy one entry of a folder; what it adds to the folder's digest."""
        content = ""
        if stat.S_ISREG(status.st_mode):
            file = open_below(opened, name, os.O_RDONLY | os.O_NONBLOCK, _BELOW)
            with _closing(file):
                if not _same(os.fstat(file), status):
                    raise StageError(f"{name} changed while it was being copied")
                content, status = self._file(file, copy, name)
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(name, dir_fd=opened)
            os.symlink(content, name, dir_fd=copy)
        elif not stat.S_ISDIR(status.st_mode):
            raise StageError(f"{name} in it is neither a file, a folder nor a link")
        kind = stat.S_IFMT(status.st_mode) | (status.st_mode & 0o555)
        return b"\0".join((os.fsencode(name), str(kind).encode(), os.fsencode(content))) + b"\n"

    def _file(self, opened: int, folder: int, name: str) -> tuple[str, os.stat_result]:
        before = os.fstat(opened)
        copy = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        with _closing(copy):
            read = self._blocks(opened, copy, before.st_size)
            if not _same(os.fstat(opened), before):
                raise StageError("it changed while it was being copied")
            if (wrote := digest_of(copy)) != read:
                raise StageError(f"the copy's checksum is {wrote[:12]}, what was read had {read[:12]}: it is dropped")
            os.fchmod(copy, before.st_mode & 0o555 | 0o400)
        self.public &= _anybody(before)
        return read, before

    def _blocks(self, opened: int, copy: int, expected: int) -> str:
        digest, done = hashlib.sha256(), 0
        while block := os.read(opened, min(BLOCK, expected + 1 - done)):
            done += len(block)
            self.size += len(block)
            if done > expected or self.size > self._limit:
                raise StageError("it grew while it was being copied")
            digest.update(block)
            if block == _EMPTY:  # a hole stays one
                os.lseek(copy, len(block), os.SEEK_CUR)
            else:
                _write(copy, block)
            self._told(self.size)
        if done != expected:
            raise StageError("it shrank while it was being copied")
        os.ftruncate(copy, done)
        return digest.hexdigest()


def digest_of(opened: int) -> str:
    """SHA-256 of an open file, from its beginning."""
    digest = hashlib.sha256()
    os.lseek(opened, 0, os.SEEK_SET)
    while block := os.read(opened, BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _write(copy: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(copy, rest) :]


def _anybody(status: os.stat_result) -> bool:
    """Whether its mode lets everybody read it."""
    need = 0o005 if stat.S_ISDIR(status.st_mode) else 0o004
    return status.st_mode & need == need


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) == (
        other.st_dev, other.st_ino, other.st_size, other.st_mtime_ns, other.st_ctime_ns
    )  # fmt: skip


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def leave_cgroup(root: int) -> None:
    """The copy's pages are the node's, in its tier's reserved share: not the agent's own, whose unit is bounded."""
    for procs in ("sys/fs/cgroup/cgroup.procs", "sys/fs/cgroup/memory/cgroup.procs"):
        with contextlib.suppress(OSError):
            opened = os.open(procs, os.O_WRONLY, dir_fd=root)
            with _closing(opened):
                os.write(opened, b"0")
            return


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Be the user from now on, untraceable, and die with the agent."""
    libc = ctypes.CDLL(None)
    parent = os.getppid()
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # a change of uid may have set it (fs.suid_dumpable)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # only now: a change of uid clears it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    if os.getppid() != parent:
        sys.exit("the agent has gone")


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    """Carry out the order in the only argument."""
    order = json.loads(sys.argv[1])
    leave_cgroup(order["root"])
    become(order["uid"], order["gid"], order["groups"])
    said = 0.0

    def told(size: int) -> None:
        nonlocal said
        if (now := time.monotonic()) - said > BEAT:
            said = now
            _say(copied=size)

    try:
        opened = open_source(order["root"], order["path"])
        copying = Copying(order["target"], order["limit"], told)
        digest = copying.copy(opened)
        _say(digest=digest, size=copying.size, public=copying.public)
    except StageError as error:
        _say(error=str(error))
    except OSError as error:
        name = f"{error.filename}: " if isinstance(error.filename, str | Path) else ""
        _say(error=f"{name}{error.strerror}")

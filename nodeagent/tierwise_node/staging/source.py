"""A source as its reader sees it: who it is, and whether that user may read it.

Names are resolved in the host's own file tree under the identity of the user who asked, never as root, and never
through magic links (openat2(2)). The identity of a thread can be switched on Linux alone (setfsuid(2)): other threads
keep theirs, and no signal of the user's reaches it, as it could a process of theirs.
"""

import contextlib
import ctypes
import hashlib
import itertools
import os
import platform
import pwd
import stat
from collections.abc import Generator, Iterator
from typing import NamedTuple

import msgspec

from tierwise.errors import TierwiseError

MAX_FILES = 200_000
"""In one folder that is staged as a whole."""
MAX_DEPTH = 64
PAGE = 4096
"""What the smallest file takes, at least: a folder of many counts as what it takes, not as what it holds."""
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 0x02, 0x04, 0x10
_OPENAT2 = 437  # the same number on every architecture
_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "ppc64le": 81, "s390x": 206}
_FUSE_SUPER_MAGIC = 0x65735546
_libc = ctypes.CDLL(None, use_errno=True)


class StageError(TierwiseError):
    """Something can't be staged; the message says what, and why."""


class User(NamedTuple):
    """Whose rights hold: as in passwd and group."""

    uid: int
    gid: int
    groups: tuple[int, ...]


STRANGER = User(0x7FFFFFFE, 0x7FFFFFFE, ())
"""A user that no site has: what it can read, everybody can."""


class Source(msgspec.Struct, frozen=True):
    """What was found at a path. Two looks that are equal saw the same content: a change moves `ctime_ns` at least.

    `size` is in bytes, of a folder what all in it takes; `tree` is a digest over the names and identities of a folder's
    files, empty for a file. `shareable` is false on FUSE, where a user's own program says what these numbers are.
    """

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    tree: str = ""
    files: int = 1
    shareable: bool = True

    def same(self, other: "Source") -> bool:
        """Whether both are the same content, perhaps under two names."""
        return (self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns, self.tree) == (
            other.device, other.inode, other.size, other.mtime_ns, other.ctime_ns, other.tree
        )  # fmt: skip


def user(uid: int) -> User:
    """The account of `uid`. Raises StageError."""
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        raise StageError(f"uid {uid} has no account on this node: nothing can be staged for it") from None
    return User(uid, account.pw_gid, tuple(os.getgrouplist(account.pw_name, account.pw_gid)))


def checked_path(path: str) -> str:
    """`path`, if it can name a source: absolute, bounded, without `.` and `..`. Raises StageError."""
    if not path.startswith("/") or len(path.encode(errors="surrogateescape")) > 4095 or "\0" in path:
        raise StageError(f"{path[:200]!r} can't be staged: it is not an absolute path")
    if {".", ".."} & set(path.split("/")):
        raise StageError(f"{path[:200]!r} can't be staged: a path may not hold . or .. as a component")
    return "/" + "/".join(part for part in path.split("/") if part)


def host_root() -> int:
    """A descriptor of the host's root folder: a unit's own mount namespace hides homes and has another /tmp."""
    try:
        return os.open("/proc/1/root", os.O_PATH | os.O_CLOEXEC)
    except OSError:  # in a container whose init is not ours to look at: its tree is all there is
        return os.open("/", os.O_PATH | os.O_CLOEXEC)


def open_below(folder: int, name: str, flags: int, resolve: int) -> int:
    """openat2(2). Raises OSError."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, 0, resolve)
    number = ctypes.c_long(_OPENAT2)
    opened = _libc.syscall(number, ctypes.c_int(folder), os.fsencode(name), how, ctypes.sizeof(how))
    if opened < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)
    return int(opened)


def open_source(root: int, path: str) -> int:
    """`path` below `root`, opened for reading if it is a file or a folder: nothing else is even opened.

    Raises OSError, and StageError (with the reason alone) for devices, pipes and sockets.
    """
    place = open_below(root, path.lstrip("/"), os.O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    try:
        if not stat.S_ISREG(mode := os.fstat(place).st_mode) and not stat.S_ISDIR(mode):
            raise StageError("it is neither a file nor a folder")
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)


@contextlib.contextmanager
def acting_as(who: User) -> Iterator[None]:
    """Let this thread, and no other, reach files as `who`. Without a way back the process must end."""
    groups = (ctypes.c_uint32 * len(who.groups))(*who.groups)
    number = _SETGROUPS.get(platform.machine())
    if number is None:
        raise StageError(f"staging is not known on {platform.machine()}")
    try:
        if _libc.syscall(ctypes.c_long(number), ctypes.c_size_t(len(groups)), groups) != 0:
            raise StageError("the agent may not take a user's groups: it needs CAP_SETGID")
        _libc.setfsgid(who.gid)
        _libc.setfsuid(who.uid)
        if _libc.setfsuid(-1) != who.uid or _libc.setfsgid(-1) != who.gid:
            raise StageError("the agent may not take a user's identity: it needs CAP_SETUID and CAP_SETGID")
        yield
    finally:
        _libc.setfsuid(0)
        _libc.setfsgid(0)
        back = _libc.syscall(ctypes.c_long(number), ctypes.c_size_t(0), None)
        if back != 0 or _libc.setfsuid(-1) != 0:
            os.abort()


def look(root: int, path: str, who: User) -> Source:
    """What `who` finds at `path`. Raises StageError where they may not read it or it can't be staged."""
    with acting_as(who):
        try:
            opened = open_source(root, path)
            try:
                return _describe(opened, path)
            finally:
                os.close(opened)
        except OSError as error:
            raise StageError(f"{path} can't be staged: {error.strerror}") from None
        except StageError as error:
            raise StageError(f"{path} can't be staged: {error}") from None


def _describe(opened: int, path: str) -> Source:
    status = os.fstat(opened)
    shareable = _file_system(opened) != _FUSE_SUPER_MAGIC
    if stat.S_ISREG(status.st_mode):
        if status.st_size == 0:
            raise StageError("it is empty")
        return Source(
            path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
            shareable=shareable,
        )  # fmt: skip
    digest, size, files = hashlib.sha256(), 0, 0
    for name, found in walk(opened):
        files += 1
        size += max(-(-found.st_size // PAGE), 1) * PAGE
        identity = (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        digest.update(os.fsencode(name) + repr(identity).encode() + b"\0")
    return Source(
        path, status.st_dev, status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns,
        digest.hexdigest(), files, shareable,
    )  # fmt: skip


def walk(
    folder: int, prefix: str = "", depth: int = 0, listed: int = 0
) -> Generator[tuple[str, os.stat_result], None, int]:
    """All below an open folder in the order of names, each with its path from there; symlinks are not followed.

    Returns `listed` and how many that is. Raises OSError, and StageError (with the reason alone) where it is too large.
    """
    if depth > MAX_DEPTH:
        raise StageError(f"{prefix[:200]} in it is more than {MAX_DEPTH} folders deep")
    names = _names(folder, MAX_FILES - listed)
    listed += len(names)
    for name in names:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        yield f"{prefix}{name}", status
        if stat.S_ISDIR(status.st_mode):
            inner = open_below(folder, name, os.O_RDONLY | os.O_DIRECTORY, RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
            try:
                listed = yield from walk(inner, f"{prefix}{name}/", depth + 1, listed)
            finally:
                os.close(inner)
    return listed


def _names(folder: int, most: int) -> list[str]:
    """The names in an open folder, in their order. The agent's memory must not be as large as a folder of a user's."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in itertools.islice(entries, most + 1))
    if len(names) > most:
        raise StageError(f"it holds more than {MAX_FILES} files")
    return names


def _file_system(opened: int) -> int:
    """The f_type of statfs(2): its first word."""
    words = (ctypes.c_long * 32)()
    return int(words[0]) if _libc.fstatfs(ctypes.c_int(opened), words) == 0 else _FUSE_SUPER_MAGIC

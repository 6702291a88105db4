"""The sockets that we listen on: made safely, left behind by nobody."""

import contextlib
import os
import socket
import stat
from pathlib import Path

from tierwise.errors import TierwiseError

_BACKLOG = 1024


class ListenError(TierwiseError):
    """A socket can't be listened on."""


class UnixListener:
    """A unix socket at `path`, mode 0666 (peers are known by uid), its directory made where it is missing.

    A socket that nobody serves any more is replaced in one step (bind elsewhere, rename), so that a client never
    meets a hole; one that somebody serves is left alone. Raises ListenError.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        try:
            self._check()
            self.socket = self._bind()
            self._inode = self.path.stat().st_ino
        except OSError as error:
            raise ListenError(f"could not listen on {path}: {error.strerror or error}") from None

    def close(self) -> None:
        """Stop listening; remove the path if it is still ours."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _check(self) -> None:
        try:
            kind = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(kind):
            raise ListenError(f"could not listen on {self.path}: something that is no socket is there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            with contextlib.suppress(ConnectionRefusedError):
                probe.connect(str(self.path))
                raise ListenError(f"could not listen on {self.path}: another process serves it already")

    def _bind(self) -> socket.socket:
        _make_directory(self.path.parent)
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            sock.bind(str(fresh))
            fresh.chmod(0o666)
            sock.listen(_BACKLOG)
            fresh.rename(self.path)
        except OSError:
            sock.close()
            raise
        return sock


def tcp_listener(address: str) -> socket.socket:
    """A listening socket at `host:port` (`[::1]:6830` for IPv6). Raises ListenError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ListenError(f"service.listen is {address!r}: it must be host:port")
    try:
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ListenError(f"could not listen on {address}: {error.strerror or error}") from None


def _make_directory(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)  # clients of every uid pass through it, whatever our umask

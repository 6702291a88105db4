"""The virtual node's end of `frames`: starts what the host asks for and sends back what it prints.

One thread, one selector. It runs as root in a machine that belongs to the host's tool: it trusts what it reads.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tierwise_lab.frames import PAYLOAD, PORT_NAME, Kind, Unframer, frame

DRAIN_READS = 32  # more than a pipe or a terminal holds; a daemon that writes on and on must not hold us

selector = selectors.DefaultSelector()


class Command:
    """One running process and its streams."""

    def __init__(self, send: Callable[[Kind, bytes], None], ask: dict[str, Any]) -> None:
        self._send = send
        self._pending = bytearray()  # input that the process has not read yet
        self._input_ended = False
        self._exited = False
        if ask["terminal"]:
            self._start_on_terminal(ask)
        else:
            self._start_on_pipes(ask)
        for descriptor in {self._stdin, *self._outputs}:
            os.set_blocking(descriptor, False)
        for descriptor, kind in self._outputs.items():
            selector.register(descriptor, selectors.EVENT_READ, lambda _, d=descriptor, k=kind: self._read(d, k))
        self._pidfd = os.pidfd_open(self.process.pid)
        selector.register(self._pidfd, selectors.EVENT_READ, lambda _: self._ended())

    def _start_on_pipes(self, ask: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            ask["argv"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **ask["env"]},
            cwd=ask["cwd"],
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        # We own the descriptors from here on: the selector works on numbers.
        self._stdin = os.dup(self.process.stdin.fileno())
        self._outputs = {
            os.dup(self.process.stdout.fileno()): Kind.STDOUT,
            os.dup(self.process.stderr.fileno()): Kind.STDERR,
        }
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def _start_on_terminal(self, ask: dict[str, Any]) -> None:
        ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *ask["argv"]],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **ask["env"]},
            cwd=ask["cwd"],
        )
        os.close(theirs)
        self._stdin = ours
        self._outputs = {ours: Kind.STDOUT}

    def write(self, payload: bytes) -> None:
        """Input for the process, or none: its end."""
        if payload:
            self._pending += payload
        else:
            self._input_ended = True
        self._flush()

    def resize(self, rows: int, columns: int) -> None:
        """The person's terminal has this size now."""
        fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        """Signal the process and its session's first group."""
        if not self._exited:
            os.killpg(self.process.pid, number)

    def _flush(self) -> None:
        while self._pending and self._stdin >= 0:
            try:
                del self._pending[: os.write(self._stdin, self._pending[:PAYLOAD])]
            except BlockingIOError:
                self._watch_input(True)
                return
            except OSError:  # it reads no more
                self._pending.clear()
                self._input_ended = True
        self._watch_input(False)
        if self._input_ended and self._stdin >= 0 and self._stdin not in self._outputs:
            os.close(self._stdin)
            self._stdin = -1

    def _watch_input(self, wanted: bool) -> None:
        descriptor = self._stdin
        if descriptor < 0 or descriptor in self._outputs:
            return  # a terminal takes what a person types
        watched = descriptor in selector.get_map()
        if wanted and not watched:
            selector.register(descriptor, selectors.EVENT_WRITE, lambda _: self._flush())
        elif watched and not wanted:
            selector.unregister(descriptor)

    def _read(self, descriptor: int, kind: Kind) -> bool:
        """Pass on what is there; False when there is nothing now, or nothing any more."""
        try:
            chunk = os.read(descriptor, PAYLOAD)
        except BlockingIOError:
            return False
        except OSError:  # a terminal says EIO where a pipe says end of file
            chunk = b""
        if chunk:
            if not self._exited:
                self._send(kind, chunk)
            return True
        selector.unregister(descriptor)
        os.close(descriptor)
        del self._outputs[descriptor]
        return False

    def _ended(self) -> None:
        # What the process wrote before it ended is in the pipes. What daemons that it left behind write later is
        # read (a closed pipe would kill them) and dropped.
        for descriptor, kind in list(self._outputs.items()):
            for _ in range(DRAIN_READS):
                if not self._read(descriptor, kind):
                    break
        selector.unregister(self._pidfd)
        os.close(self._pidfd)
        self._exited = True
        self._send(Kind.EXIT, str(self.process.wait()).encode())


class Guest:
    """All commands, and the port that they share."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._commands: dict[int, Command] = {}
        self._unframer = Unframer(self._handle)
        selector.register(port, selectors.EVENT_READ, self._receive)
        self._send(Kind.READY, 0, b"")

    def _receive(self, events: int) -> None:
        chunk = os.read(self._port, PAYLOAD)
        if not chunk:
            raise SystemExit("the host has closed the port")
        self._unframer.feed(chunk)

    def _send(self, kind: Kind, number: int, payload: bytes) -> None:
        left = memoryview(frame(kind, number, payload))
        while left:
            left = left[os.write(self._port, left) :]

    def _handle(self, kind: Kind, number: int, payload: bytes) -> None:
        if kind == Kind.START:
            self._start(number, json.loads(payload))
        elif number not in self._commands:
            return  # it could not be started, and the host has been told
        elif kind == Kind.STDIN:
            self._commands[number].write(payload)
        elif kind == Kind.SIGNAL:
            self._commands[number].signal(int(payload))
        elif kind == Kind.RESIZE:
            self._commands[number].resize(*json.loads(payload))

    def _start(self, number: int, ask: dict[str, Any]) -> None:
        def send(kind: Kind, payload: bytes) -> None:
            self._send(kind, number, payload)
            if kind == Kind.EXIT:
                self._commands.pop(number)

        try:
            self._commands[number] = Command(send, ask)
        except OSError as error:
            self._send(Kind.STDERR, number, f"{ask['argv'][0]}: {error.strerror}\n".encode())
            self._send(Kind.EXIT, number, b"127" if isinstance(error, FileNotFoundError) else b"126")


def open_port() -> int:
    """The port that the host named: there is no udev here that would make links in /dev/virtio-ports."""
    for name in Path("/sys/class/virtio-ports").glob("*/name"):
        if name.read_text().strip() == PORT_NAME:
            return os.open(f"/dev/{name.parent.name}", os.O_RDWR | os.O_CLOEXEC)
    raise SystemExit(f"no virtio port named {PORT_NAME}")


def main() -> None:
    """Serve until the host closes the port."""
    # A shell starts what goes into the background with these ignored, and ignored signals are inherited.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    Guest(open_port())
    while True:
        for key, events in selector.select():
            if key.fileobj in selector.get_map():  # an earlier event of this round may have ended it
                key.data(events)


if __name__ == "__main__":
    main()

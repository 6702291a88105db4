"""One virtual node as the host sees it: run commands on it, copy files, kill it."""

from __future__ import annotations

import io
import itertools
import json
import socket
import subprocess
import tarfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tierwise_lab.daemons import LabError
from tierwise_lab.frames import PAYLOAD, Kind, Unframer, frame

RUN_TIMEOUT = 600.0
KILL_TIMEOUT = 10.0
CONSOLE_LINES = 25


@dataclass(frozen=True)
class Completed:
    """A command that has ended: its exit code (negative: the signal that ended it) and what it printed."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class Command:
    """A command that runs on a node. Its output is collected, or written to the streams given as it comes."""

    def __init__(
        self, node: VirtualNode, number: int, argv: Sequence[str], stdout: BinaryIO | None, stderr: BinaryIO | None
    ) -> None:
        self.argv = tuple(argv)
        self._node = node
        self._number = number
        self._collected = {Kind.STDOUT: io.BytesIO(), Kind.STDERR: io.BytesIO()}
        self._sinks: dict[Kind, BinaryIO] = {
            Kind.STDOUT: stdout or self._collected[Kind.STDOUT],
            Kind.STDERR: stderr or self._collected[Kind.STDERR],
        }
        self._ended = threading.Event()
        self._code: int | None = None

    def write(self, data: bytes) -> None:
        """Input for the command."""
        for start in range(0, len(data), PAYLOAD):
            self._node.send(Kind.STDIN, self._number, data[start : start + PAYLOAD])

    def end_input(self) -> None:
        """The command's input ends here."""
        self._node.send(Kind.STDIN, self._number)

    def resize(self, rows: int, columns: int) -> None:
        """The terminal that the command runs on has this size."""
        self._node.send(Kind.RESIZE, self._number, json.dumps([rows, columns]).encode())

    def signal(self, number: int) -> None:
        """Send the command's process group a signal."""
        self._node.send(Kind.SIGNAL, self._number, str(number).encode())

    def wait(self, timeout: float = RUN_TIMEOUT) -> Completed:
        """Wait for its end. After `timeout` seconds it is killed, the whole node if need be, and LabError says so."""
        if not self._ended.wait(timeout):
            self._give_up(timeout)
        if self._code is None:
            raise LabError(f"{self._node.name} died while it ran {' '.join(self.argv)}: {self._node.last_words()}")
        return Completed(self.argv, self._code, self._text(Kind.STDOUT), self._text(Kind.STDERR))

    def done(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def collected(self) -> bytes:
        """The bytes of its standard output so far, where no stream was given for them."""
        return self._collected[Kind.STDOUT].getvalue()

    def deliver(self, kind: Kind, payload: bytes) -> None:
        """What the node says about it. Called by the node's reader."""
        if kind in self._sinks:
            self._sinks[kind].write(payload)
            self._sinks[kind].flush()
        elif kind == Kind.EXIT:
            self._code = int(payload)
            self._ended.set()

    def node_died(self) -> None:
        """There will be no more. Called by the node's reader."""
        self._ended.set()

    def _text(self, kind: Kind) -> str:
        return self._collected[kind].getvalue().decode(errors="replace")

    def _give_up(self, timeout: float) -> None:
        said = (self._text(Kind.STDOUT) + self._text(Kind.STDERR))[-2000:]
        what = f"{self._node.name}: {' '.join(self.argv)}: not done within {timeout:g} s"
        self.signal(9)
        if not self._ended.wait(KILL_TIMEOUT):
            self._node.kill()
            raise LabError(f"{what}, and the node hangs: it was killed\n{self._node.console_tail()}")
        raise LabError(f"{what}: it was killed; it had said:\n{said}")


class VirtualNode:
    """A running QEMU and the port into its guest. `wait_ready` first; `kill` ends it, as a power cut would."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], port: socket.socket, console: Path) -> None:
        self.name = f"node{number}"
        self.address = f"10.9.8.{number}"
        self._process = process
        self._port = port
        self._console = console
        self._commands: dict[int, Command] = {}
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"lab-{self.name}", daemon=True)
        self._reader.start()

    # --- commands -----------------------------------------------------------------------------------------------

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/root",
        terminal: bool = False,
        stdout: BinaryIO | None = None,
        stderr: BinaryIO | None = None,
    ) -> Command:
        """Start a command as root, on a terminal of its own if asked. Its environment is the node's plus `env`."""
        number = next(self._numbers)
        command = self._commands[number] = Command(self, number, argv, stdout, stderr)
        ask = {"argv": list(argv), "env": dict(env or {}), "cwd": cwd, "terminal": terminal}
        self.send(Kind.START, number, json.dumps(ask).encode())
        return command

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        timeout: float = RUN_TIMEOUT,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str = "/root",
        stdout: BinaryIO | None = None,
        stderr: BinaryIO | None = None,
    ) -> Completed:
        """Run a command as root to its end. With `check` an exit code other than 0 is a LabError with its words."""
        command = self.start(argv, env=env, cwd=cwd, stdout=stdout, stderr=stderr)
        command.write(input)
        command.end_input()
        done = command.wait(timeout)
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    # --- files --------------------------------------------------------------------------------------------------

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or a folder of the host to the path `target` on the node; folders above it are made."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(source, arcname=target.lstrip("/"), filter=_owned_by_root)
        self.run(["tar", "-x", "-C", "/", "-f", "-"], input=archive.getvalue(), check=True)

    def write(self, target: str, text: str, mode: int = 0o644) -> None:
        """Make a file on the node with this text."""
        content = text.encode()
        entry = tarfile.TarInfo(target.lstrip("/"))
        entry.size, entry.mode = len(content), mode
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(entry, io.BytesIO(content))
        self.run(["tar", "-x", "-C", "/", "-f", "-"], input=archive.getvalue(), check=True)

    def copy_out(self, source: str, target: Path) -> None:
        """Copy a file or a folder of the node into the host's folder `target`, under its own name."""
        parent, _, name = source.rstrip("/").rpartition("/")
        command = self.start(["tar", "-c", "-C", parent or "/", "-f", "-", name])
        done = command.wait()
        if done.returncode != 0:
            raise LabError(f"{self.name}: can't copy {source}: {done.stderr.strip()}")
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(command.collected())) as tar:
            tar.extractall(target, filter="data")

    # --- life ---------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout: float) -> None:
        """Wait until the guest takes commands. LabError with QEMU's words or the console's last lines if not."""
        if self._ready.wait(timeout) and self.alive():
            return
        why = f"not up within {timeout:g} s and killed, " if self.alive() else ""
        raise LabError(f"{self.name}: {why}{self.last_words()}")

    def last_words(self) -> str:
        """How QEMU ended, and what it and the console said last. It is killed if it has not ended."""
        self.kill()
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip()
        how = f"QEMU ended with {self._process.returncode}"
        return "\n".join(filter(None, [how, said, self.console_tail()]))

    def kill(self) -> None:
        """SIGKILL its QEMU, and wait until it and our reader are gone. Harmless when repeated."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._port.close()

    def console_tail(self) -> str:
        """The last lines of the serial console."""
        if not self._console.exists():
            return ""
        lines = self._console.read_text(errors="replace").splitlines()[-CONSOLE_LINES:]
        return "\n".join(["its console's last lines:", *lines]) if lines else ""

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Send one frame; dropped if the node is gone, as its commands then learn from the reader."""
        with self._sending:
            try:
                self._port.sendall(frame(kind, number, payload))
            except OSError:
                for command in list(self._commands.values()):
                    command.node_died()

    def _read(self) -> None:
        unframer = Unframer(self._deliver)
        try:
            while chunk := self._port.recv(PAYLOAD):
                unframer.feed(chunk)
        except ConnectionError:
            pass  # a killed QEMU with bytes of ours unread: the same as its end
        self._ready.set()
        for command in list(self._commands.values()):
            command.node_died()

    def _deliver(self, kind: Kind, number: int, payload: bytes) -> None:
        if kind == Kind.READY:
            self._ready.set()
        elif command := self._commands.get(number):
            command.deliver(kind, payload)
            if kind == Kind.EXIT:
                del self._commands[number]


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry

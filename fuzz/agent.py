"""Fuzzes the agent's socket protocol: a whole agent in this process, asked over its real unix socket (atheris).

    unshare --mount python fuzz/agent.py [libFuzzer options] [CORPUS]

Peers are root and a user's process in a job. A finding is: an exception that the agent did not expect (it logs these),
an answer that is not in the protocol, no answer, or descriptors that stay open.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["tierwise", "tierwise_node", "tierwise_policy"]):
    from tierwise import lines
    from tierwise_node import server
    from tierwise_node.agent import Agent

import asyncio
import logging
import os
import signal
import tempfile
from pathlib import Path

from handmade import NOBODY, JobCgroups, unmount_below

from tierwise.config import AgentConfig, Config, StageConfig

NODE, JOB = f"fuzz{os.getpid()}", 4711
PATIENCE = 20.0
OPERATIONS = (
    *("prolog", "epilog", "task", "exit", "job", "status", "events", "heatmap"),
    *("stage", "stage_job", "stage_list", "stage_drop", "stage_pin"),
    *("memory_session", "memory_regions", "memory_alloc", "memory_free", "memory_move", "memory_open"),
    *("memory_grow", "memory_close", "memory_drop", "memory_events"),
)
KEYS = (
    *("job_id", "uid", "comment", "tier", "restart", "step", "mem", "policy_set", "since", "follow", "seconds"),
    *("at", "size", "to", "hint", "name", "create", "exclusive", "retain", "path", "paths", "stage", "scratch", "wait"),
)
VALUES = (
    *("", "0", "1", "4096", "8192", "1048576", "9223372036854775807", "18446744073709551616", "-1", "1e9", "٣"),
    *(str(JOB), str(JOB + 1), str(NOBODY), "lat", "cap:50%,bw", "auto", "off", "lat:99999999999999T", "a" * 300),
    *("LAT", "BW,CAP", "SHL,LAT,BW,CAP", "tier:dram", "tier:", "region", "a/b", "..", "x\0y"),
    "tierwise=0123456789abcdef",
    *("/etc/hostname", "/nonexistent/a", "../../etc/passwd", "/etc/hostname,/etc/hostname", "\n\n", "\udc80"),
)  # fmt: skip


class Findings(logging.Handler):
    """Keeps what the agent logged of exceptions that it did not expect."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with a trace."""
        if record.exc_info:
            self.found.append(logging.Formatter().format(record))


class Target:
    """The agent, and who asks it."""

    def __init__(self, folder: Path, job: int) -> None:
        self.findings = Findings()
        logging.getLogger("tierwise_node").addHandler(self.findings)
        logging.getLogger("tierwise_node").propagate = False
        self._folder, self._loop = folder, asyncio.new_event_loop()
        self._peers = (server.Peer(os.getpid(), 0), server.Peer(job, NOBODY), server.Peer(job, NOBODY))
        self._peer = self._peers[0]
        server._peer = lambda _writer: self._peer  # type: ignore[assignment]
        server.RATE = 1e9  # who fuzzes asks without end, and is not to wait
        agent = AgentConfig(
            service=str(folder / "none.sock"),
            socket=str(folder / "agent.sock"),
            state=str(folder / "state"),
            stage=StageConfig(path=str(folder / "stage")),
            retain=str(folder),
        )
        self._agent = self._loop.create_task(Agent(NODE, lambda: Config(agent=agent)).run())
        self._loop.run_until_complete(self._listening())
        self._inputs, self._descriptors = 0, 0

    async def _listening(self) -> None:
        while not (self._folder / "agent.sock").exists():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    def ask(self, data: bytes) -> None:
        """One conversation of at most twelve messages, over one or two connections."""
        provider = atheris.FuzzedDataProvider(data)
        self._peer = self._peers[provider.ConsumeIntInRange(0, len(self._peers) - 1)]
        self._loop.run_until_complete(self._converse(provider))
        if self.findings.found:
            raise RuntimeError(self.findings.found[0])
        if self._agent.done():
            raise RuntimeError("the agent has ended") from self._agent.exception()
        self._count_descriptors()

    def _count_descriptors(self) -> None:
        self._inputs += 1
        if self._inputs % 500 == 0:
            now = len(os.listdir("/proc/self/fd"))
            self._descriptors = self._descriptors or now
            if now > self._descriptors + 600:  # regions' and sessions' that are in use
                raise RuntimeError(f"{now} descriptors are open, after {self._descriptors} at the beginning")

    async def _converse(self, provider: atheris.FuzzedDataProvider) -> None:
        connections = [await self._connect() for _ in range(provider.ConsumeIntInRange(1, 2))]
        try:
            if provider.ConsumeBool():
                for reader, writer in connections:
                    await self._exchange(reader, writer, b"op=memory_session\n\n")
            for _ in range(provider.ConsumeIntInRange(1, 12)):
                reader, writer = connections[provider.ConsumeIntInRange(0, len(connections) - 1)]
                if not await self._exchange(reader, writer, message(provider)):
                    return
            for _, writer in connections:
                writer.write(provider.ConsumeBytes(20))  # half a message
        finally:
            for _, writer in connections:
                writer.close()
            await asyncio.sleep(0)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self._folder / "agent.sock", limit=1 << 24)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: bytes) -> bool:
        """Whether the connection goes on. RuntimeError for what is no answer."""
        writer.write(question)
        try:
            answer = await asyncio.wait_for(reader.readuntil(b"\n\n"), PATIENCE)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        except TimeoutError:
            raise RuntimeError(f"no answer to {question!r} within {PATIENCE:g} s") from None
        fields = lines.decode(answer, 1 << 24)
        if fields.get("status") not in ("ok", "refused", "error", "none"):
            raise RuntimeError(f"{question!r} was answered {answer!r}")
        return True


def message(provider: atheris.FuzzedDataProvider) -> bytes:
    """Mostly a message of the protocol's form, else bytes; one empty line, at its end."""
    if provider.ConsumeIntInRange(0, 9) == 0:
        raw = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 200))
        return bytes(raw.replace(b"\n\n", b"\n").strip(b"\n") + b"\n\n")
    fields = [b"op=" + OPERATIONS[provider.ConsumeIntInRange(0, len(OPERATIONS) - 1)].encode()]
    for _ in range(provider.ConsumeIntInRange(0, 8)):
        key = KEYS[provider.ConsumeIntInRange(0, len(KEYS) - 1)]
        choice = provider.ConsumeIntInRange(0, len(VALUES) + 2)
        value = VALUES[choice] if choice < len(VALUES) else provider.ConsumeUnicode(24)
        quoted = "".join(f"%{byte:02X}" for byte in value.encode(errors="surrogatepass"))
        fields.append(f"{key}={quoted}".encode())
    return b"\n".join(fields) + b"\n\n"


def fuzz(folder: Path, job: int) -> None:
    """Fuzz until libFuzzer ends this process."""
    target = Target(folder, job)
    atheris.Setup(sys.argv, target.ask)
    atheris.Fuzz()


def main() -> None:
    """The fuzzer is a child: it ends without a word to Python, and what it leaves is removed here."""
    cgroups = JobCgroups(NODE)
    cgroups.make(JOB, limit=256 << 20)
    with tempfile.TemporaryDirectory(prefix="tw-fuzz-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        job = cgroups.start(JOB, ["/bin/sleep", "infinity"])
        child = os.fork()
        if child == 0:
            fuzz(Path(folder), job.pid)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
        _, status = os.waitpid(child, 0)
        cgroups.close()
        unmount_below(Path(folder))
    sys.exit(os.waitstatus_to_exitcode(status) != 0)


if __name__ == "__main__":
    main()

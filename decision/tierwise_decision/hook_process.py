"""The hook's process, as the service sees it: started, told what is known, heard, and started again if it should die.

slurmctld holds its locks while it asks about a submission. A thousand agents' reports, the database's rows and the
collector's rounds are this process's work, and none of them can keep that one waiting.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tierwise.errors import TierwiseError
from tierwise_decision.core import Core
from tierwise_decision.known import News
from tierwise_decision.link import (
    Answer,
    Answered,
    Complained,
    Excluded,
    Failed,
    FromHook,
    Link,
    Listening,
    Question,
    Stop,
    Submitted,
    Timed,
)
from tierwise_decision.sockets import ListenError

Asked = Callable[[Mapping[str, str]], Awaitable[Answer]]
_START, _STOP = 60.0, 5.0
"""Seconds for it to listen, and to end."""
_AGAIN = 1.0
"""Seconds before it is started again."""


@dataclass(frozen=True)
class _Running:
    """One that was started. `listening` is done once it answers, or can't."""

    link: Link[FromHook]
    process: asyncio.subprocess.Process
    listening: asyncio.Future[None]


class HookProcess:
    """One at a time."""

    def __init__(self, core: Core, questions: Mapping[str, Asked]) -> None:
        """`questions`: who answers what slurmctld's scripts tell, by `op`."""
        self._core, self._questions = core, questions
        self._running: _Running | None = None
        self._answers: set[asyncio.Task[None]] = set()
        core.known.passed_on = self._say
        core.settings.changed = lambda config: self._say(News(config))

    async def start(self) -> None:
        """Start it, and tell it all; `listening` waits for it."""
        ours, its = socket.socketpair()
        ours.setblocking(False)
        link: Link[FromHook] = Link(FromHook, lambda message: self._heard(link, message))
        loop = asyncio.get_running_loop()
        with its:
            await loop.create_connection(lambda: link, sock=ours)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-s", "-m", "tierwise_decision.hook_main", str(its.fileno()), *self._questions,
                pass_fds=[its.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
        self._running = _Running(link, process, loop.create_future())
        self._say(self._core.known.all(self._core.settings.config))

    async def listening(self) -> None:
        """Wait until it answers. Raises ListenError."""
        if one := self._running:
            if not await one.link.unless_lost(one.listening, _START):
                raise ListenError("could not listen for submissions: the hook's process did not start")
            one.listening.result()

    async def run(self) -> None:
        """Until cancelled: start it again when it has ended by itself."""
        while one := self._running:
            await one.link.lost.wait()
            await _end(one.process)
            self._core.hook_problem = f"the hook's process ended (exit {one.process.returncode})"
            self._core.complain("hook_process", self._core.hook_problem)
            await asyncio.sleep(_AGAIN)
            try:
                await self.start()
                await self.listening()
                self._core.hook_problem = ""
            except (ListenError, OSError) as error:
                self._core.complain("hook_process", str(error))

    async def stop(self) -> None:
        """End it, and take what it still has to say. Nobody may `run` it any more."""
        if one := self._running:
            one.link.say(Stop())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP):
                    await one.link.lost.wait()
            await _end(one.process)
        self._running = None

    def _say(self, message: object) -> None:
        if self._running:
            self._running.link.say(message)

    def _heard(self, link: Link[FromHook], message: FromHook) -> None:
        try:
            self._take(link, message)
        except Exception as error:  # a fault in one of them must not end the others
            self._core.complain("internal", f"could not take what the hook's process told: {error!r}", trace=error)

    def _take(self, link: Link[FromHook], message: FromHook) -> None:
        core = self._core
        match message:
            case Submitted(request, kind):
                core.requests.add(request)
                core.sizing.submitted(request.token, request.uid, kind)
            case Timed(status, seconds):
                core.metrics.submits.labels(status).inc()
                core.metrics.submit_seconds.observe(seconds)
            case Excluded(token, names):
                core.nodes.exclusions.wrote(token, names)
            case Complained(kind):
                core.metrics.complained(kind)
            case Question():
                task = asyncio.get_running_loop().create_task(self._answer(link, message))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
            case Listening() | Failed():
                self._started(message)

    def _started(self, message: Listening | Failed) -> None:
        if (one := self._running) and not one.listening.done():
            if isinstance(message, Failed):
                one.listening.set_exception(ListenError(message.reason))
            else:
                one.listening.set_result(None)

    async def _answer(self, link: Link[FromHook], question: Question) -> None:
        """For the hook's process, and whoever asked it. It answers at once: others have no more time than it."""
        fields = question.fields
        try:
            answer = await self._questions[fields["op"]](fields)
        except TierwiseError as error:
            self._core.complain("ending", f"op={fields['op']} job_id={fields.get('job_id', '')[:20]}: {error}")
            answer = {"status": "error", "reason": str(error)}
        except Exception as error:
            self._core.complain("internal", f"could not answer op={fields['op']}: {error!r}", trace=error)
            answer = {"status": "error", "reason": "internal error: see the service's log"}
        link.say(Answered(question.number, answer))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait until it has ended, and not for long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP):
            await process.wait()
            return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()

"""The hook's process: `python -m tierwise_decision.hook_main DESCRIPTOR OP…`, started by hook_process.py.

It answers submissions from a copy of what the service knows, and tells the service what it answered. When the service
has gone, it goes.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import signal
import socket
import sys
from collections.abc import Collection, Mapping

from tierwise.config import Config
from tierwise.errors import UnavailableError
from tierwise_decision.complaints import Complaints
from tierwise_decision.hook import Hook
from tierwise_decision.known import Known, News
from tierwise_decision.link import (
    Answer,
    Answered,
    Complained,
    Failed,
    FromService,
    Link,
    Listening,
    Question,
)
from tierwise_decision.settings import Settings
from tierwise_decision.sockets import ListenError, UnixListener
from tierwise_decision.submit import Submit

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class Copy:
    """What the service has told: its configuration, what it knows, and its answers to our questions."""

    def __init__(self) -> None:
        self.settings = Settings(Config())
        self.known = Known()
        self.told, self.stopped = asyncio.Event(), asyncio.Event()
        """Set once there is something to answer from; set when there will be no more."""
        self.link: Link[FromService] = Link(FromService, self._heard)
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Answer]] = {}

    async def ask(self, fields: Mapping[str, str]) -> Answer:
        """Have the service answer. Raises UnavailableError when it has gone."""
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self.link.say(Question(number, {**fields}))
        try:
            if not await self.link.unless_lost(answer):
                raise UnavailableError("the decision service has stopped")
            return answer.result()
        finally:
            del self._asked[number]

    def _heard(self, message: FromService) -> None:
        if isinstance(message, News):
            if message.config:
                self.settings.take(message.config)
            self.known.take(message)
            self.told.set()
        elif isinstance(message, Answered):
            if waiting := self._asked.get(message.number):
                waiting.set_result(message.answer)
        else:
            self.stopped.set()


async def serve(descriptor: int, questions: Collection[str]) -> None:
    """Until the service stops, or is gone. `questions`: what is asked besides submissions, by `op`."""
    copy = Copy()
    link = copy.link
    line = socket.socket(fileno=descriptor)
    line.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=line)
    await link.unless_lost(copy.told.wait())
    complain = Complaints(lambda kind: link.say(Complained(kind)))
    submit = Submit(copy.settings, copy.known, link.say)
    hook = Hook(copy.settings, submit, dict.fromkeys(questions, copy.ask), link.say, complain)
    try:
        listener = UnixListener(copy.settings.config.service.hook_socket)
    except ListenError as error:
        link.say(Failed(str(error)))
    else:
        await hook.start(listener)
        gc.freeze()  # what is loaded by now stays: the collector need not look at it again while the hook waits
        link.say(Listening())
        await link.unless_lost(copy.stopped.wait())
        hook.stop()
        if copy.stopped.is_set():  # a killed service leaves its sockets behind, for the next one to replace
            listener.close()
    link.close()
    await link.lost.wait()


def main() -> None:
    """The service alone says when it ends: a terminal and systemd send their signals to both."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format=LOG_FORMAT, level=logging.INFO, stream=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), sys.argv[2:]))


if __name__ == "__main__":
    main()

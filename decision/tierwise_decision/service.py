"""The process: its sockets, its signals, its life from start to a clean stop."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import time

from tierwise.config import MungeConfig
from tierwise.errors import CredentialError
from tierwise.munge import Munge
from tierwise_decision.app import create_app
from tierwise_decision.bodies import Bounded
from tierwise_decision.core import Core
from tierwise_decision.credentials import Authenticated
from tierwise_decision.hook_process import HookProcess
from tierwise_decision.listeners import Listener
from tierwise_decision.rates import Rates
from tierwise_decision.settings import Settings
from tierwise_decision.sockets import UnixListener, tcp_listener

_SPARE_DESCRIPTORS = 64
_MOST_CONNECTIONS = 16384
log = logging.getLogger("tierwise.decision")


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises ListenError and ConfigError when it can't start."""
    config = settings.config.service
    core = Core(settings)
    rates = Rates(settings, time.monotonic)
    most = _connections()
    async with contextlib.AsyncExitStack() as stack:
        hook = HookProcess(core, {"ending": core.failures.ending, "ended": core.history.told, "ahead": core.ahead.told})
        stack.push_async_callback(hook.stop)
        await hook.start()
        app = Bounded(Authenticated(create_app(core), _munge(core, settings.config.munge), rates), core.complain)
        stopped = _signals(settings)
        await hook.listening()  # first: who finds the service there may submit
        unix = stack.enter_context(contextlib.closing(UnixListener(config.socket)))
        listeners = [Listener(app, unix.socket, most // 4, core.complain)]
        if config.listen:
            listeners.append(Listener(app, tcp_listener(config.listen), most * 3 // 4, core.complain))
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(core.store.run())
            forgetting = group.create_task(core.forget())
            accounting = group.create_task(core.history.follow_accounting())
            ending = group.create_task(core.endings.run())
            watching = group.create_task(core.nodes.run())
            learning = group.create_task(core.sizing.run())
            submitting = group.create_task(hook.run())
            serving = [group.create_task(listener.run_until_stopped()) for listener in listeners]
            gc.freeze()  # what is loaded by now stays: the collector need not look at it again
            log.info("ready: hook on %s, HTTP on %s and %s", config.hook_socket, unix.path, config.listen or "no TCP")
            await stopped.wait()
            log.info("stopping")
            submitting.cancel()
            await hook.stop()
            for listener in listeners:
                listener.stop()
            await asyncio.wait(serving)
            forgetting.cancel()
            accounting.cancel()
            ending.cancel()
            watching.cancel()
            learning.cancel()
            await core.nodes.stop()
            core.history.flush()
            core.store.close()
            await writer


def _munge(core: Core, config: MungeConfig) -> Munge | None:
    try:
        return Munge(config.socket)
    except CredentialError as error:
        core.problems.append(f"munge: {error}")
        log.error("no requests over TCP: %s", error)
        return None


def _signals(settings: Settings) -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, settings.reload)
    return stopped


def _connections() -> int:
    """How many connections we may have in all: what the hard limit of descriptors lets us, which we take."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, _MOST_CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(most - _SPARE_DESCRIPTORS, 16)

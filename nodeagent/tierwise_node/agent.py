"""The agent: its parts put together, started, reloaded and stopped."""

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tierwise.config import AgentConfig, Config
from tierwise.errors import ConfigError
from tierwise_node import pages
from tierwise_node.answers import Answers
from tierwise_node.below import Below
from tierwise_node.cgroups import Cgroups
from tierwise_node.deliveries import Deliveries
from tierwise_node.doctor import Doctor
from tierwise_node.hotness.hotness import Hotness
from tierwise_node.huge_pages import HugePages
from tierwise_node.interleave import InterleaveWeights
from tierwise_node.jobs import Jobs
from tierwise_node.journal import Journal
from tierwise_node.memory.answers import MemoryAnswers
from tierwise_node.numa import NumaNodes
from tierwise_node.page_cache import PageCache
from tierwise_node.pins import HardPins
from tierwise_node.placer import Placer
from tierwise_node.planner import Planner
from tierwise_node.server import Answer, Handover, Peer, Server
from tierwise_node.service import Service
from tierwise_node.staging.parts import Staging
from tierwise_node.telemetry.loop import telemetry_of
from tierwise_node.tiers import Topology
from tierwise_node.watch import Watch, tier_rate
from tierwise_policy.interleave import weights

log = logging.getLogger(__name__)
NICE = -10
"""On a node whose CPUs are all busy a task's start still gets its answer in time."""


class Agent:
    """One agent for one Slurm NodeName. `load` reads the configuration again for a reload."""

    def __init__(self, node: str, load: Callable[[], Config]) -> None:
        self._node, self._load = node, load
        self._weights, self._huge_pages = InterleaveWeights(), HugePages()
        self._server: Server | None = None
        self._answers: Answer | None = None
        self._below: Below | None = None
        self._memory = MemoryAnswers()
        self._ready = asyncio.Event()
        """Cleared during a reload: who asks then waits for the new configuration, and is not refused."""

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
        stop, reload = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        config = self._load()
        await self._serve(config, stop, reload, after_absence=True)
        while not stop.is_set():
            reload.clear()
            config = self._reloaded(config)
            await self._serve(config, stop, reload, after_absence=False)
        if self._server is not None:
            await self._server.stop()
        if self._below is not None:
            self._below.give_back()
        self._weights.restore()
        self._huge_pages.restore()

    async def _serve(self, config: Config, stop: asyncio.Event, reload: asyncio.Event, after_absence: bool) -> None:
        """One life between two (re)loads. What it knows of jobs is in the journal, so nothing is lost between."""
        agent = config.agent
        numa = NumaNodes()
        topology = Topology(numa, agent.tiers, pages.probe, agent.capacity_share)
        cgroups = Cgroups(self._node, agent.cgroup)
        state = Path(self._path(agent.state))
        journal = Journal(state)
        service = Service(config)
        planner = Planner(self._node, service.plan, agent.pin_share, service.heard)
        jobs = Jobs(self._node, topology, cgroups, journal, planner, agent.sample_interval, after_absence)
        deliveries = Deliveries(service, jobs, journal, agent.report_interval)
        rate = tier_rate(agent.move_limit, {tier.name: tier.bandwidth for tier in topology.tiers()})
        pins = HardPins(state / "memory-min.json") if cgroups.version == 2 else None
        placer = Placer(topology, cgroups)
        placer.kept = self._memory.granting.kept
        watch = Watch(jobs, topology, placer, agent.sample_interval, rate, agent.margin, pins)
        page_cache = PageCache(jobs.records, topology, numa, agent.sample_interval, rate)
        hotness = Hotness(jobs, self._node, state)
        self._below = below = Below(state, agent.below_last, topology, cgroups, placer)
        doctor = Doctor(topology, cgroups, self._weights, self._huge_pages, journal, deliveries, config, hotness, below)
        staging = None
        if agent.stage.path:
            folder = Path(self._path(agent.stage.path))
            staging = Staging(self._node, folder, agent.stage, jobs, cgroups, service, topology.order)
        watch.windows, watch.observed, watch.below = hotness.windows, hotness.notice, below
        self._answers = answers = Answers(
            jobs, cgroups, topology, doctor.look, state / "ended", staging.answers if staging else None, hotness.heatmap
        )
        await answers.endings.look()  # before the first beat takes these jobs for lost
        tasks = [asyncio.create_task(each.run()) for each in (watch, hotness, deliveries, answers.endings, page_cache)]
        tasks += map(asyncio.create_task, (self._keep_weights(agent, topology), self._keep_huge_pages(agent, topology)))
        self._memory.use(jobs, cgroups, topology, agent.shared_share, agent.retain.replace("%n", self._node))
        if after_absence:
            self._memory.find_again(cgroups)
        tasks.append(asyncio.create_task(self._memory.run(agent.sample_interval)))
        telemetry = telemetry_of(self._node, agent, state, service.telemetry, jobs, cgroups)
        tasks.append(asyncio.create_task(telemetry.run()))
        if staging is not None:
            telemetry.ahead = staging.ahead
            tasks.append(asyncio.create_task(staging.run()))
        await self._listen(Path(self._path(agent.socket)))
        log.info("agent of %s: tiers %s, socket %s", self._node, ", ".join(topology.order), self._path(agent.socket))
        await _first(stop, reload)
        self._ready.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(hotness.stop)
        if staging is not None:
            await staging.close(stop.is_set())
        service.close()
        journal.close()

    async def _listen(self, path: Path) -> None:
        """Serve at `path`; the socket stays where a reload doesn't change its place."""
        if self._server is None or self._server.path != path:
            if self._server is not None:
                await self._server.stop()
            self._server = Server(path, self._answer)
            await self._server.start()
        self._ready.set()

    async def _answer(self, peer: Peer, fields: dict[str, str]) -> dict[str, str | int] | Handover:
        await self._ready.wait()
        if fields.get("op", "").startswith("memory_"):
            return await self._memory(peer, fields)
        assert self._answers is not None
        return await self._answers(peer, fields)

    async def _keep_weights(self, agent: AgentConfig, topology: Topology) -> None:
        """Own the host's interleave weights, if that is allowed."""
        if not agent.interleave_weights:
            return self._weights.leave("switched off by agent.interleave_weights")
        per_node = {
            node: tier.bandwidth // len(tier.numa_nodes) for tier in topology.tiers() for node in tier.numa_nodes
        }
        wanted = dict(zip(per_node, weights(list(per_node.values())), strict=True))
        await self._weights.keep(partial(self._weights.take, wanted), agent.report_interval)
        return None

    async def _keep_huge_pages(self, agent: AgentConfig, topology: Topology) -> None:
        """Own how page faults look for huge pages, if that is allowed and there is a slower tier to keep them from."""
        if not agent.local_huge_pages:
            return self._huge_pages.leave("switched off by agent.local_huge_pages")
        if len(topology.order) < 2:
            return self._huge_pages.leave("one tier only")
        await self._huge_pages.keep(self._huge_pages.take, agent.report_interval)
        return None

    def _reloaded(self, config: Config) -> Config:
        try:
            return self._load()
        except ConfigError as error:
            log.error("%s: the agent goes on with what it had", error)
            return config

    def _path(self, template: str) -> str:
        return template.replace("%n", self._node)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def settle_in() -> None:
    """Give up what the agent doesn't need, and make it the last to wait or be killed: jobs' starts depend on it."""
    os.umask(0o077)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        Path("/proc/self/oom_score_adj").write_text("-900")
    except OSError as error:  # without CAP_SYS_NICE or CAP_SYS_RESOURCE
        log.warning("could not raise the agent above its node's jobs: %s", error.strerror)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))

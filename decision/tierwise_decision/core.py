"""The service without its sockets: everything that a request needs, put together once."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

import tierwise
from tierwise.errors import ProtocolError
from tierwise.messages import Health, JobReport, NodeSample
from tierwise.slurm import open_client
from tierwise.slurmnodes import open_nodes
from tierwise_decision.ahead import Ahead
from tierwise_decision.cluster import Cluster, check_tiers
from tierwise_decision.complaints import Complaints
from tierwise_decision.database.engine import open_engine
from tierwise_decision.database.store import Store
from tierwise_decision.endings import Endings
from tierwise_decision.estimates import Estimates
from tierwise_decision.failures import Failures
from tierwise_decision.history import History
from tierwise_decision.jobs import Jobs
from tierwise_decision.known import Known
from tierwise_decision.metrics import Metrics
from tierwise_decision.nodes import Nodes
from tierwise_decision.outlooks import Outlooks
from tierwise_decision.plans import Plans
from tierwise_decision.requests import Requests
from tierwise_decision.settings import Settings
from tierwise_decision.sizing import Sizing
from tierwise_decision.spool import Spool
from tierwise_decision.telemetry import AHEAD, SECOND

_FORGET_EVERY = 600.0


class Core:
    """State and what acts on it. Raises ConfigError for a database URL that can't be one."""

    def __init__(self, settings: Settings) -> None:
        config = settings.config
        self.settings = settings
        self.metrics = Metrics()
        self.complain = Complaints(self.metrics.complained)
        self.known = Known()
        self.cluster = Cluster(self.known, lambda: settings.config.agent.report_interval)
        self.spool = Spool(config.service.spool)
        self.store = Store(open_engine(config.service.database), self.spool, self.complain, self._restore)
        self.requests = Requests(self.store)
        self.plans = Plans(settings, self.requests, self.store)
        self.jobs = Jobs(self.cluster, self.requests, self.plans, self.store)
        self.slurm = open_client(config)
        self.history = History(self.slurm, self.store, self.complain)
        self.nodes = Nodes(
            settings, self.known, self.cluster, self.store, self.complain, self.requests, open_nodes(config)
        )
        self.history.listen(self.nodes.ended)
        self.sizing = Sizing(self.known, self.store, self.complain)
        self.estimates = Estimates(settings, self.known)
        self.history.listen(self.sizing.learn)
        self.jobs.history = self.history
        gres = Outlooks(settings, self.known).gres
        self.failures = Failures(self.slurm, self.requests, self.history, gres, self.complain)
        self.failures.likely = self.sizing.likely
        listed = Path(config.service.hook_socket).with_name("ended")
        self.endings = Endings(self.slurm, self.history, self.complain, listed)
        self.history.kind_of = self.sizing.kind_of
        self.plans.mended = self.failures.next_memory
        self.ahead = Ahead(lambda node: self.cluster.sample(node) is not None)
        self.nodes.loads.ahead = self.ahead.take
        self.problems: list[str] = []
        """What was wrong at the start and stays so."""
        self.hook_problem = ""
        self.metrics.watch(self._gauges)

    def sampled(self, sample: NodeSample) -> None:
        """An agent says how its node is. Raises ProtocolError, and RefusedError: the node is not in slurm.conf."""
        check_tiers(sample.tiers)
        self.nodes.loads.check_known(sample.node)
        before = self.cluster.sample(sample.node)
        known = {job.key for job in before.jobs} if before else set()
        if self.cluster.update(sample):
            self.store.pending.nodes[sample.node] = sample
            self.store.wake()
        for job in sample.jobs:
            if job.key not in known:
                self.store.pending.seen(job, sample.time)
                self.store.wake()
        self.metrics.samples.inc()

    async def reported(self, report: JobReport) -> None:
        """A job has ended on a node. Raises SpoolError when nothing can keep the report: send it again later. Raises
        ProtocolError and RefusedError for a report that can't be true yet; its agent keeps it, and tries again."""
        self.nodes.loads.check_known(report.node)
        if (ahead := report.ended - time.time_ns()) > AHEAD:
            raise ProtocolError(f"the report of {report.node} is {ahead // SECOND} s ahead of our clock")
        kept = await self.store.keep(report)
        self.jobs.reported(report)
        self.history.reported(report)
        self.metrics.reports.labels(kept).inc()
        for name in ("asked", "landed", "refused", "bounced"):
            self.metrics.moves.labels(name).inc(max(getattr(report.moves, name), 0))

    def health(self) -> Health:
        """How the service is."""
        up, silent = self.cluster.counts()
        problems = [*self.problems, *filter(None, (self.hook_problem, self.store.problem))]
        return Health(
            ok=not problems,
            version=tierwise.__version__,
            database=self.store.backend,
            spooled=len(self.spool),
            nodes_up=up,
            nodes_silent=silent,
            problems=tuple(problem[:512] for problem in problems),
        )

    async def forget(self) -> None:
        """Now and then, as long as the service runs: forget requests that no agent has claimed."""
        while True:
            await asyncio.sleep(_FORGET_EVERY)
            self.store.pending.forget_before = self.requests.forget_unclaimed(
                self.settings.config.service.unclaimed_hours
            )
            self.store.wake()

    def _restore(self, known: Iterable[tuple[NodeSample, int]]) -> None:
        for sample, changed in known:
            self.cluster.restore(sample, changed / 1e9)

    def _gauges(self) -> dict[str, dict[str, float]]:
        up = 0.0 if self.store.problem else 1.0
        return {
            **self.cluster.totals(),
            "tierwise_database_up": {"": up},
            "tierwise_spooled_reports": {"": len(self.spool)},
            "tierwise_pending_rows": {"": len(self.store.pending)},
        }

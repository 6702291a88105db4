"""Jobs as the service knows them: submitted (a token), running (samples), ended (reports)."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Literal

import msgspec

from tierwise.errors import RefusedError, UnavailableError
from tierwise.messages import JobReport, JobSample, JobView
from tierwise_decision.cluster import Cluster
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_decision.history import History
from tierwise_decision.plans import Plans
from tierwise_decision.requested import Requested
from tierwise_decision.requests import Requests
from tierwise_decision.runs import attempt

MAX_RECENT_REPORTS = 1000
State = Literal["submitted", "running", "ended"]


class Jobs:
    """Views of jobs. What the database can't say now comes from memory as far as that reaches."""

    def __init__(self, cluster: Cluster, requests: Requests, plans: Plans, store: Store) -> None:
        self._cluster = cluster
        self._requests = requests
        self._plans = plans
        self._store = store
        self.history: History | None = None
        self._reports: OrderedDict[tuple[str, str, str], JobReport] = OrderedDict()

    def reported(self, report: JobReport) -> None:
        """A job has ended on a node."""
        self._cluster.ended(report.node, report.key)
        self._reports[_identity(report)] = report
        if len(self._reports) > MAX_RECENT_REPORTS:
            self._reports.popitem(last=False)

    async def view(self, job_id: int) -> JobView:
        """One job with all its runs. Raises RefusedError (404) when there is none, (503) when nobody can say."""
        try:
            runs, reports = await self._store.read(
                lambda connection: (reads.runs(connection, job_id), reads.reports(connection, [job_id]))
            )
        except UnavailableError as error:
            runs, reports = [], []
            unreadable: UnavailableError | None = error
        else:
            unreadable = None
        recent = [report for report in self._reports.values() if report.key.job_id == job_id]
        view = self._running(job_id) or _ended([*reports, *recent])
        if view is None:
            known = [(run.uid, run.key.token, run.directive) for run in reversed(runs)]
            known += [(uid, plan.key.token, plan.directive) for uid, plan in self._plans.recent(job_id)]
            if known:
                uid, token, directive = known[-1]
                view = JobView(job_id, token, uid, directive, "running")
        attempts = await self.history.attempts(job_id) if self.history else []
        if view is None and attempts:
            last = attempts[-1]
            view = JobView(job_id, last.token, last.uid, "", "ended")
        if view is None:
            if unreadable:
                raise RefusedError(str(unreadable), 503)
            raise RefusedError(f"job {job_id} is not known here", 404)
        request = await self._requests.find(view.token) if view.token else None
        return msgspec.structs.replace(
            view,
            directive=view.directive or (request.directive if request else ""),
            reports=_distinct(report for report in [*reports, *recent] if report.uid == view.uid),
            notices=_notices(request, view.samples.values()),
            attempts=tuple(attempt(one) for one in attempts if one.uid == view.uid)[-64:],
        )

    async def views(self, uid: int | None, state: State | None, limit: int) -> list[JobView]:
        """The newest jobs: of one user or of all; of one state, or submitted, running and ended in this order.

        Reports come without their curves.
        """
        found: list[JobView] = []
        if state in (None, "submitted"):
            waiting = await self._requests.unclaimed(uid, limit)
            found += [JobView(0, r.token, r.uid, r.directive, "submitted", notices=_notices(r, ())) for r in waiting]
        if state in (None, "running"):
            running = (self._running(job_id) for job_id in self._cluster.jobs())
            found += islice((view for view in running if view and uid in (None, view.uid)), limit)
        if state in (None, "ended") and len(found) < limit:
            found += [view for view in await self._ended(uid, limit) if not self._cluster.job(view.job_id)]
        return found[:limit]

    async def _ended(self, uid: int | None, limit: int) -> list[JobView]:
        reports: list[JobReport] = [r for r in self._reports.values() if uid in (None, r.uid)]
        with contextlib.suppress(UnavailableError):  # counted already; memory has to do
            reports += await self._store.read(
                lambda connection: reads.reports(
                    connection, [run.key.job_id for run in reads.ended_jobs(connection, uid, limit)]
                )
            )
        by_job: dict[int, list[JobReport]] = {}
        for report in reports:
            if uid in (None, report.uid):
                by_job.setdefault(report.key.job_id, []).append(msgspec.structs.replace(report, curve=()))
        views = [view for one in by_job.values() if (view := _ended(one))]
        return sorted(views, key=lambda view: -view.reports[0].ended)[:limit]

    def _running(self, job_id: int) -> JobView | None:
        samples = self._cluster.job(job_id)
        if not samples:
            return None
        one = max(samples.values(), key=lambda sample: (sample.key.restart, sample.directive))
        return JobView(job_id, one.key.token, one.uid, one.directive, "running", samples)


def _ended(reports: list[JobReport]) -> JobView | None:
    if not reports:
        return None
    last = max(reports, key=lambda report: (report.key.restart, report.ended))
    return JobView(last.key.job_id, last.key.token, last.uid, last.directive, "ended", reports=_distinct(reports))


def _distinct(reports: Iterable[JobReport]) -> tuple[JobReport, ...]:
    """Each report once, the newest first: memory and database may both have it."""
    unique = {_identity(report): report for report in reports}
    return tuple(sorted(unique.values(), key=lambda report: -report.ended))


def _identity(report: JobReport) -> tuple[str, str, str]:
    return report.node, str(report.key), report.key.token


def _notices(request: Requested | None, samples: Iterable[JobSample]) -> tuple[str, ...]:
    said = [request.notice] if request and request.notice else []
    for sample in samples:
        said += [sample.reason] if sample.reason else []
        said += [f"degraded: {why}" for why in (sample.plan.degraded if sample.plan else ())]
    return tuple(dict.fromkeys(said))[:32]

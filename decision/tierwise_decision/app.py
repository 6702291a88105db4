"""The HTTP interface (docs/protocol.md): routes, who may ask them, and what they answer."""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Litestar, MediaType, Response, get, post
from litestar.datastructures import State as AppState
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import Parameter
from prometheus_client import CONTENT_TYPE_LATEST

import tierwise
from tierwise.directive import parse_directive
from tierwise.errors import DirectiveError, ProtocolError, RefusedError, UnavailableError
from tierwise.messages import (
    DryRunPlan,
    DryRunQuery,
    Health,
    JobReport,
    JobView,
    NodeSample,
    NodeView,
    PlanAnswer,
    PlanQuery,
)
from tierwise.units import LARGEST
from tierwise_decision import planning
from tierwise_decision.cluster import check_tiers
from tierwise_decision.core import Core
from tierwise_decision.estimate_routes import ROUTES as ESTIMATES
from tierwise_decision.guards import Asked, agents_only, core_of, job_view, known_only, uid_of
from tierwise_decision.jobs import State
from tierwise_decision.node_routes import ROUTES
from tierwise_decision.readers import Readers, read_turn
from tierwise_decision.spool import SpoolError

_CHALLENGE = {"WWW-Authenticate": "MUNGE"}
MAX_JOBS = 1000


@get("/healthz", summary="How the service is")
async def healthz(request: Asked) -> Health:
    """For anybody. Always 200: what is degraded is said in the body."""
    return core_of(request).health()


@get("/metrics", media_type=MediaType.TEXT, include_in_schema=False)
async def metrics(request: Asked) -> Response[bytes]:
    """For anybody: nothing in it names a user, a job or a node."""
    text = await asyncio.to_thread(core_of(request).metrics.text)
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


@post("/v1/plans", guards=[agents_only], status_code=200, summary="The final plan of a job on a node")
async def plan(request: Asked, data: PlanQuery) -> PlanAnswer:
    """For agents. The same question has the same answer."""
    check_tiers(data.tiers)
    answer = await core_of(request).plans.answer(data)
    outcome = "none" if answer.plan is None else "degraded" if answer.plan.degraded else "whole"
    core_of(request).metrics.plans.labels(outcome).inc()
    return answer


@post("/v1/samples", guards=[agents_only], status_code=204, summary="A node's tiers and jobs now")
async def sample(request: Asked, data: NodeSample) -> None:
    """For agents."""
    core_of(request).sampled(data)


@post("/v1/reports", guards=[agents_only], status_code=204, summary="What a job did on a node")
async def report(request: Asked, data: JobReport) -> None:
    """For agents. Safe to send twice; once answered, the report is on disk."""
    await core_of(request).reported(data)


@post("/v1/plans/dry-run", guards=[known_only], status_code=200, summary="What a job would get on each node")
async def dry_run(request: Asked, data: DryRunQuery) -> list[DryRunPlan]:
    """For anybody authenticated. Changes nothing."""
    uid_of(request)
    core = core_of(request)
    asked = parse_directive(data.directive)
    share = core.settings.config.agent.pin_share

    def plans() -> list[DryRunPlan]:
        samples = [view.sample for view in core.cluster.views() if data.node in (None, view.sample.node)]
        return [planning.dry_run(s.node, asked, data.memory, s.tiers, s.jobs, share) for s in samples]

    found = await asyncio.to_thread(plans)
    if not found:
        raise RefusedError(f"node {data.node} is not known here" if data.node else "no node is known here", 404)
    return found


@get("/v1/nodes", guards=[known_only], summary="Every node that has ever reported")
async def nodes(request: Asked) -> Response[list[NodeView]]:
    """For anybody authenticated; who is no admin sees no jobs but their own."""
    uid, core = uid_of(request), core_of(request)

    def encoded() -> bytes:
        views = core.cluster.views()
        if not core.settings.access.is_admin(uid):
            views = [_without_others(view, uid) for view in views]
        return b"[%b]" % b",".join(map(msgspec.json.encode, views))  # one by one: an encoder lets nobody else run

    body: Any = await asyncio.to_thread(encoded)  # megabytes for a large cluster: the hook must not wait for them
    return Response(body, media_type=MediaType.JSON)


@get("/v1/jobs", guards=[known_only], summary="The newest jobs")
async def jobs(
    request: Asked,
    job_state: Annotated[State | None, Parameter(query="state")] = None,
    limit: Annotated[int, Parameter(ge=1, le=MAX_JOBS)] = 100,
) -> list[JobView]:
    """Of the asker, or of everybody for admins; reports without their curves."""
    uid, core = uid_of(request), core_of(request)
    return await core.jobs.views(None if core.settings.access.is_admin(uid) else uid, job_state, limit)


@get("/v1/jobs/{job_id:int}", guards=[known_only], summary="One job")
async def job(request: Asked, job_id: Annotated[int, Parameter(ge=0, le=LARGEST)]) -> JobView:
    """For its owner and admins."""
    return await job_view(request, job_id)


def create_app(core: Core) -> Litestar:
    """The application for all our HTTP sockets."""
    return Litestar(
        [healthz, metrics, plan, sample, report, dry_run, nodes, jobs, job, read_turn, *ROUTES, *ESTIMATES],
        state=AppState({"core": core, "readers": Readers(core.settings.config.service.stage_readers)}),
        openapi_config=OpenAPIConfig(
            title="Tierwise decision service",
            version=tierwise.__version__,
            path="/schema",
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        exception_handlers={Exception: _refuse},
        logging_config=None,
        request_max_body_size=None,  # bodies.py has bounded it
    )


def _refuse(request: Asked, error: Exception) -> Response[dict[str, Any]]:
    """Errors are `{"status_code": N, "detail": "…"}`, counted by kind."""
    status, detail, kind = _refusal(error)
    if kind:
        trace = error if status == 500 else None
        core_of(request).complain(kind, f"{request.method} {request.url.path}: {detail}", trace=trace)
    shown = "internal error: see the service's log" if status == 500 else detail
    headers = _CHALLENGE if status == 401 else {}
    return Response({"status_code": status, "detail": shown}, status_code=status, headers=headers)


def _refusal(error: Exception) -> tuple[int, str, str]:
    """Status, detail, and the kind of complaint (`` for what is nobody's fault)."""
    if isinstance(error, RefusedError):
        return error.status, str(error), "uid" if error.status == 403 else ""
    if isinstance(error, (ProtocolError, DirectiveError)):
        return 400, str(error), "http_junk"
    if isinstance(error, RecursionError):
        return 400, "the body is nested too deeply", "http_junk"
    if isinstance(error, (SpoolError, UnavailableError)):  # the latter is counted where it happens
        return 503, str(error), "spool" if isinstance(error, SpoolError) else ""
    if isinstance(error, HTTPException) and error.status_code != 500:
        extra = error.extra if isinstance(error.extra, list) else []
        parts = [error.detail, *(f"{part.get('key', '')}: {part.get('message', '')}" for part in extra)]
        return error.status_code, "; ".join(parts)[:1000], "http_junk"
    return 500, repr(error), "internal"


def _without_others(view: NodeView, uid: int) -> NodeView:
    own = tuple(job for job in view.sample.jobs if job.uid == uid)
    return msgspec.structs.replace(view, sample=msgspec.structs.replace(view.sample, jobs=own))

"""The part of the HTTP interface that is about nodes: telemetry, stragglers, explanations (docs/protocol.md)."""

import asyncio
import time
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Response, get, post
from litestar.params import Parameter

from tierwise.telemetry import Explanation, NodeEvent, NodeLoad, Straggler, StragglerOrder, TelemetryAnswer
from tierwise.units import LARGEST
from tierwise_decision.guards import Asked, admins_only, agents_only, core_of, job_view, known_only, uid_of
from tierwise_decision.telemetry import SECOND


@post("/v1/telemetry", guards=[agents_only], status_code=200, summary="A node's measurements, a TelemetryBatch")
async def telemetry(request: Asked) -> TelemetryAnswer:
    """For agents. JSON, deflated with Content-Encoding. Once answered, it is in the database; safe to send twice."""
    packed = request.headers.get("content-encoding", "") == "deflate"
    address = request.client.host if request.client else ""
    core = core_of(request)
    answer = await core.nodes.loads.take(await request.body(), packed, address)
    core.metrics.measurements.inc(answer.taken)
    return answer


@get("/v1/nodes/loads", guards=[known_only], summary="Every node's newest measurement, and what it is made of")
async def loads(request: Asked) -> Response[dict[str, NodeLoad]]:
    """For anybody authenticated."""
    known = core_of(request).nodes.loads
    found = {node: load for node in known.nodes() if (load := known.load(node))}
    body: Any = await asyncio.to_thread(msgspec.json.encode, found)  # megabytes: the hook must not wait for them
    return Response(body, media_type=MediaType.JSON)


@get("/v1/stragglers", guards=[known_only], summary="The nodes that are marked as slow, and why")
async def stragglers(request: Asked) -> list[Straggler]:
    """For anybody authenticated."""
    return core_of(request).nodes.stragglers.all()


@post("/v1/stragglers", guards=[admins_only], status_code=200, summary="Pin or pardon a node")
async def order_straggler(request: Asked, data: StragglerOrder) -> Straggler:
    """For admins."""
    return core_of(request).nodes.stragglers.order(uid_of(request), data)


@get("/v1/nodes/events", guards=[known_only], summary="What happened to nodes lately, newest first")
async def node_events(request: Asked, hours: Annotated[float, Parameter(gt=0.0, le=8784.0)] = 24.0) -> list[NodeEvent]:
    """For anybody authenticated: hardware that changed, stragglers named and freed."""
    return await core_of(request).nodes.events(time.time_ns() - int(hours * 3600 * SECOND))


@get("/v1/jobs/{job_id:int}/explain", guards=[known_only], summary="Why each node was or wasn't chosen for a job")
async def explain(request: Asked, job_id: Annotated[int, Parameter(ge=0, le=LARGEST)]) -> Explanation:
    """For the job's owner and admins."""
    core = core_of(request)
    view = await job_view(request, job_id)
    attempts = await core.history.attempts(job_id, view.uid)
    return await core.nodes.selection.explain(view, attempts[-1].signature.exact if attempts else "")


ROUTES = [telemetry, loads, stragglers, order_straggler, node_events, explain]

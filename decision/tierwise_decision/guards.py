"""Who may ask what over HTTP: guards for routes, and how a route finds the service and the asker.

Guards are coroutines: Litestar would hand a plain function to a thread, at each request.
"""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler

from tierwise.errors import RefusedError
from tierwise.messages import JobView
from tierwise_decision.core import Core
from tierwise_decision.credentials import UID

Asked = Request[Any, Any, Any]
Connection = ASGIConnection[Any, Any, Any, Any]


async def known_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: we must know who asks, before we look at what."""
    if UID not in connection.scope["state"]:
        raise NotAuthorizedException("who asks? Over TCP that takes a MUNGE credential")


async def agents_only(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard: only the uids that agents run as."""
    await known_only(connection, handler)
    uid = connection.scope["state"][UID]
    core: Core = connection.app.state["core"]
    if not core.settings.access.is_agent(uid):
        raise RefusedError(f"uid {uid} is no agent: see service.agent_uids")


async def admins_only(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard: only admins."""
    await known_only(connection, handler)
    uid = connection.scope["state"][UID]
    core: Core = connection.app.state["core"]
    if not core.settings.access.is_admin(uid):
        raise RefusedError(f"uid {uid} is no admin: see service.admin_uids")


async def job_view(request: Asked, job_id: int) -> JobView:
    """A job with all its runs, for its owner and admins. Raises RefusedError for others, and as Jobs.view does."""
    uid, core = uid_of(request), core_of(request)
    view = await core.jobs.view(job_id)
    if not core.settings.access.may_see(uid, view.uid):
        core.complain("uid", f"uid {uid} may not see job {job_id} of uid {view.uid}")
        raise RefusedError(f"job {job_id} is not yours")
    return view


def core_of(request: Asked) -> Core:
    """The service."""
    core: Core = request.app.state["core"]
    return core


def uid_of(request: Asked) -> int:
    """Who asks; behind a guard, that is known."""
    uid: int = request.scope["state"][UID]
    return uid

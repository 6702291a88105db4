"""The decision service's client, for agents and tierctl: HTTP over TCP with MUNGE, or over its unix socket."""

import secrets
import zlib
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import httpx
import msgspec

from tierwise.errors import CredentialError, ProtocolError, RefusedError, UnavailableError
from tierwise.messages import (
    DryRunPlan,
    DryRunQuery,
    EstimateAnswer,
    EstimateQuery,
    Health,
    JobReport,
    JobView,
    NodeSample,
    NodeView,
    PlanAnswer,
    PlanQuery,
    ReadTurn,
    ReadTurnAnswer,
)
from tierwise.munge import Munge, digest
from tierwise.telemetry import (
    Explanation,
    NodeEvent,
    NodeLoad,
    Straggler,
    StragglerOrder,
    TelemetryAnswer,
    TelemetryBatch,
)

T = TypeVar("T")
MAX_ANSWER = 128 * 1024 * 1024
"""Bytes of an answer, which is read before its credential: anybody may listen in the service's place."""


class _Whole(httpx.SyncByteStream):
    """An answer's body, as long as it is no larger than MAX_ANSWER."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        left = MAX_ANSWER
        for part in self._stream:
            left -= len(part)
            if left < 0:
                raise httpx.ReadError(f"its answer has more than {MAX_ANSWER} bytes")
            yield part

    def close(self) -> None:
        self._stream.close()


class _Transport(httpx.HTTPTransport):
    """HTTP with bounded answers, none of them compressed: few bytes could become very many."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        if response.headers.pop("Content-Encoding", "identity") != "identity":
            response.close()
            raise httpx.ReadError("its answer is compressed")
        response.stream = _Whole(response.stream)
        return response


class MungeAuth(httpx.Auth):
    """Signs each request, and believes an answer only with a credential of one of `service_uids` over it."""

    requires_request_body = True
    requires_response_body = True

    def __init__(self, munge: Munge, service_uids: tuple[int, ...]) -> None:
        self._munge = munge
        self._service_uids = service_uids

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Raises CredentialError."""
        nonce = secrets.token_hex(16)
        payload = digest(b"request", request.method.encode(), request.url.raw_path, request.content, nonce.encode())
        request.headers["Authorization"] = f"MUNGE {self._munge.encode(payload)}"
        request.headers["X-Tierwise-Nonce"] = nonce
        response = yield request
        self._check(response, payload)

    def _check(self, response: httpx.Response, asked: bytes) -> None:
        credential = response.headers.get("X-Tierwise-Credential")
        if credential is None:
            # Before it knows who asks, the service signs nothing: what it says then is worth reading, not believing.
            says = f"; unproven, it says: {_detail(response)}" if response.is_error else ""
            raise CredentialError(f"{response.url} answered {response.status_code} without a credential{says}")
        uid, payload = self._munge.decode(credential)
        status = str(response.status_code).encode()
        if payload != digest(b"answer", asked, status, response.content):
            raise CredentialError(f"the credential of {response.url}'s answer is for another answer")
        if uid not in self._service_uids:
            raise CredentialError(
                f"{response.url} answered as uid {uid}: add it to agent.service_uids if the service runs as it"
            )


class DecisionClient:
    """Questions to the decision service; a context manager. Each call raises UnavailableError, RefusedError,
    CredentialError or ProtocolError.

    `service` is `http://host:port` (then `munge` and `service_uids` are needed) or the path of its unix socket.
    """

    def __init__(
        self,
        service: str,
        *,
        munge: Munge | None = None,
        service_uids: tuple[int, ...] = (0,),
        timeout: float = 5.0,
    ) -> None:
        self._service = service
        if service.startswith("/"):
            transport = _Transport(uds=service, trust_env=False)
            self._http = httpx.Client(transport=transport, base_url="http://decision", timeout=timeout, trust_env=False)
        else:
            if munge is None:
                raise CredentialError(f"{service} is asked over TCP: that needs MUNGE")
            auth = MungeAuth(munge, service_uids)
            transport = _Transport(trust_env=False)
            self._http = httpx.Client(
                transport=transport, base_url=service, auth=auth, timeout=timeout, trust_env=False
            )

    def __enter__(self) -> "DecisionClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def plan(self, query: PlanQuery, timeout: float = 5.0) -> PlanAnswer:
        """The final plan of a job on a node; `timeout` in seconds for this call."""
        return self._ask("POST", "/v1/plans", PlanAnswer, body=query, timeout=timeout)

    def sample(self, sample: NodeSample) -> None:
        """Tell what a node holds now."""
        self._send("POST", "/v1/samples", sample)

    def report(self, report: JobReport) -> None:
        """Hand in a job's report; safe to repeat."""
        self._send("POST", "/v1/reports", report)

    def telemetry(self, batch: TelemetryBatch) -> TelemetryAnswer:
        """Hand in measurements; safe to repeat. Compressed: after an outage there are many."""
        content = zlib.compress(msgspec.json.encode(batch), 1)
        headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
        return self._ask("POST", "/v1/telemetry", TelemetryAnswer, content=content, headers=headers)

    def read_turn(self, turn: ReadTurn) -> bool:
        """Whether this node may read a source for staging now."""
        return self._ask("POST", "/v1/stage/turns", ReadTurnAnswer, body=turn).granted

    def loads(self) -> dict[str, NodeLoad]:
        """Every node's newest measurement and hardware."""
        return self._ask("GET", "/v1/nodes/loads", dict[str, NodeLoad])

    def stragglers(self) -> list[Straggler]:
        """The nodes that are marked as slow."""
        return self._ask("GET", "/v1/stragglers", list[Straggler])

    def order_straggler(self, order: StragglerOrder) -> Straggler:
        """Pin or pardon a node: for admins."""
        return self._ask("POST", "/v1/stragglers", Straggler, body=order)

    def node_events(self, hours: float = 24.0) -> list[NodeEvent]:
        """What happened to nodes lately, newest first."""
        return self._ask("GET", "/v1/nodes/events", list[NodeEvent], params={"hours": hours})

    def explain(self, job_id: int) -> Explanation:
        """Why each node was or wasn't chosen for a job."""
        return self._ask("GET", f"/v1/jobs/{job_id}/explain", Explanation)

    def dry_run(self, query: DryRunQuery) -> list[DryRunPlan]:
        """What a job would get on each node."""
        return self._ask("POST", "/v1/plans/dry-run", list[DryRunPlan], body=query)

    def estimate(self, query: EstimateQuery) -> EstimateAnswer:
        """What the caller's history says about a job."""
        return self._ask("POST", "/v1/estimates", EstimateAnswer, body=query)

    def nodes(self) -> list[NodeView]:
        """Every node's last sample."""
        return self._ask("GET", "/v1/nodes", list[NodeView])

    def jobs(self, state: str = "", limit: int = 100) -> list[JobView]:
        """The newest jobs, of one state or of all; at most `limit`."""
        params = {"limit": limit, **({"state": state} if state else {})}
        return self._ask("GET", "/v1/jobs", list[JobView], params=params)

    def job(self, job_id: int) -> JobView:
        """One job; RefusedError with status 404 when the service doesn't know it."""
        return self._ask("GET", f"/v1/jobs/{job_id}", JobView)

    def health(self) -> Health:
        """How the service is."""
        return self._ask("GET", "/healthz", Health)

    def _ask(self, method: str, path: str, kind: type[T], **options: Any) -> T:
        content = self._send(method, path, **options)
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"{self._service}{path} answered what it should not: {error}") from None

    def _send(self, method: str, path: str, body: Any = None, **options: Any) -> bytes:
        if body is not None:
            options |= {"content": msgspec.json.encode(body), "headers": {"Content-Type": "application/json"}}
        try:
            response = self._http.request(method, path, **options)
        except httpx.TimeoutException:
            raise UnavailableError(f"the decision service at {self._service} did not answer in time") from None
        except httpx.HTTPError as error:
            raise UnavailableError(f"could not reach the decision service at {self._service}: {error}") from None
        if response.is_error:
            raise RefusedError(_detail(response), response.status_code)
        return response.content


def _detail(response: httpx.Response) -> str:
    try:
        return str(msgspec.json.decode(response.content)["detail"])[:512]
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"{response.url.path}: HTTP {response.status_code}"

"""Who asks over TCP: MUNGE credentials over the whole request, and ours over the whole answer (docs/protocol.md)."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tierwise.errors import CredentialError
from tierwise.munge import Munge, digest
from tierwise_decision.bodies import Answer, App, HttpError, Scope, call, header, refusal
from tierwise_decision.rates import Rates

UID = "uid"
"""The key of the asker's uid in the scope's state. Unix sockets put it there (listeners.py), or a credential does."""
_PATIENCE = 3.0
"""Seconds for munged, that a hung munged may not hold a connection."""
_NONCE = re.compile(r"[0-9a-f]{32}")
T = TypeVar("T")


class Authenticated:
    """A handler of whole requests around an application: checks credentials, signs answers.

    A request without a credential goes on without a uid: some paths are for anybody. Answers are signed only for
    whom we know: else anybody could have answers made for a nonce of somebody else.
    """

    def __init__(self, app: App, munge: Munge | None, rates: Rates) -> None:
        self._app = app
        self._munge = munge
        self._rates = rates
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="munge")  # libmunge blocks, and is not for many

    async def __call__(self, scope: Scope, body: bytes) -> Answer:
        """Raises HttpError (401, 503) for a credential that is not believed, (429, signed) for who asks too often."""
        authorization = header(scope["headers"], b"authorization")
        if UID in scope["state"]:
            self._rates.take(scope["state"][UID])
            return await call(self._app, scope, body)
        if not authorization:
            return await call(self._app, scope, body)
        nonce = header(scope["headers"], b"x-tierwise-nonce")
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        asked = digest(b"request", scope["method"].encode(), target, body, nonce.encode())
        scope["state"][UID] = await self._sender(authorization, nonce, asked)
        try:
            self._rates.take(scope["state"][UID])
        except HttpError as error:
            error.headers.append(await self._signature(asked, refusal(error.status, str(error))))
            raise
        answer = await call(self._app, scope, body)
        answer.headers.append(await self._signature(asked, answer))
        return answer

    async def _signature(self, asked: bytes, answer: Answer) -> tuple[bytes, bytes]:
        """The header that proves an answer."""
        payload = digest(b"answer", asked, str(answer.status).encode(), answer.body)
        try:
            credential = await self._with_munge(lambda munge: munge.encode(payload))
        except CredentialError as error:
            raise HttpError(503, f"the answer could not be signed: {error}", "munge") from None
        return b"x-tierwise-credential", credential.encode()

    async def _sender(self, authorization: str, nonce: str, asked: bytes) -> int:
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "munge" or not _NONCE.fullmatch(nonce):
            raise HttpError(401, "Authorization must be `MUNGE CREDENTIAL`, with X-Tierwise-Nonce", "credential")
        try:
            uid, payload = await self._with_munge(lambda munge: munge.decode(credential.strip()))
        except CredentialError as error:
            raise HttpError(401, f"the credential was not accepted: {error}", "credential") from None
        if payload != asked:
            raise HttpError(401, "the credential is for another request", "credential")
        return uid

    async def _with_munge(self, question: Callable[[Munge], T]) -> T:
        munge = self._munge
        if munge is None:
            raise HttpError(503, "this service has no MUNGE: install libmunge2 on its host", "munge")
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._thread, question, munge)
        except TimeoutError:
            raise HttpError(503, "munged did not answer in time", "munge") from None

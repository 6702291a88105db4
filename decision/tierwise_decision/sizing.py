"""Estimates for submissions: learned from ended jobs behind everybody's back, prepared, and then only read."""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Protocol, TypeVar

import msgspec

from tierwise.errors import UnavailableError
from tierwise.slurm import SlurmJob
from tierwise_decision.complaints import Complaints
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_decision.runs import EndedJob, from_row
from tierwise_decision.settings import Settings
from tierwise_decision.tales import SECOND, token_of
from tierwise_policy.signature import Signature, signature
from tierwise_policy.sizing import Asked, Estimate, Estimator, Limits, Policy, Run, limits_for

K = TypeVar("K")
V = TypeVar("V")
_RECENT = 20_000
"""Submissions whose signature is remembered, and runs that are known to be learned."""
_RESTORED = 20_000
"""Runs that a service which starts learns from the database, the newest."""
_AT_ONCE = 4
"""Runs that are learned before others have their turn: some 4 ms."""
_FOLLOW_EVERY = 30.0
_LATE = 300 * SECOND
"""A run may be written so long after its end: it waits for its agents, or for a database that was away."""


class Kind(Protocol):
    """What of a submission says what kind of job it is."""

    @property
    def uid(self) -> int: ...
    @property
    def script(self) -> str: ...
    @property
    def job_name(self) -> str: ...
    @property
    def partition(self) -> str: ...
    @property
    def array(self) -> bool: ...
    @property
    def image(self) -> str: ...


class Sized(msgspec.Struct, frozen=True):
    """What history says about a submission."""

    estimate: Estimate | None = None
    limits: Limits = Limits()


class Sizing:
    """Learns from ended jobs, those of other service processes on the same database included; sizes submissions."""

    def __init__(self, settings: Settings, store: Store, complain: Complaints) -> None:
        self._settings = settings
        self._store = store
        self._complain = complain
        self._estimator = Estimator()
        self._prepared: OrderedDict[str, Estimate] = OrderedDict()
        self._signatures: OrderedDict[bytes, Signature] = OrderedDict()
        self._submitted: OrderedDict[tuple[str, int], Signature] = OrderedDict()
        self._learned: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._newest = 0

    def estimate(self, job: Kind) -> Estimate | None:
        """The prepared estimate for a submission, from the nearest kind that has a history. Microseconds."""
        return self._find(self._signature(job))

    def size(self, job: Kind, asked: Asked) -> Sized:
        """The estimate for a submission, and what becomes of its limits by its partition's policy."""
        found = self.estimate(job)
        if found is None:
            return Sized()
        return Sized(found, limits_for(found, asked, self._policy(job.partition)))

    def submitted(self, token: str, job: Kind) -> None:
        """Remember what kind of job has a token: its end may not tell (its script is gone, or it never ran one)."""
        _remember(self._submitted, (token, job.uid), self._signature(job))

    def kind_of(self, token: str, uid: int) -> Signature | None:
        """What kind of job a token was given to, where that is remembered, and it was given to `uid`."""
        return self._submitted.get((token, uid))

    def likely(self, job: SlurmJob) -> tuple[int, int]:
        """Bytes per node and seconds that a job which failed would need by its kind's history; 0 where not known."""
        known = self.kind_of(token_of(job.comment), job.uid) or signature(job.uid, job_name=job.name)
        found = self._find(known)
        return (found.limit, int(found.seconds)) if found else (0, 0)

    def learn(self, job: EndedJob) -> None:
        """A run has ended. Learned once, however often it is told."""
        key = (job.job_id, job.started)
        run = run_of(job)
        if key in self._learned or run is None:
            return
        _remember(self._learned, key, None)
        self._newest = max(self._newest, job.ended)
        kind = self.kind_of(job.token, job.uid) or job.signature
        self._estimator.observe(kind, run)
        for one, level in kind.keys:
            if found := self._estimator.look_up(one, level):
                _remember(self._prepared, one, found, most=3 * _RECENT)

    async def run(self) -> None:
        """As long as the service runs: learn what the database knows, and what other services write there."""
        await self._store.opened.wait()
        while True:
            try:
                await self._catch_up()
            except UnavailableError:
                pass  # the store has complained; the next look finds what was missed
            except Exception as error:
                self._complain("internal", f"could not learn from history: {error!r}", trace=error)
            await asyncio.sleep(_FOLLOW_EVERY)

    async def _catch_up(self) -> None:
        since = max(self._newest - _LATE, 0)
        rows = await self._store.read(lambda connection: reads.ended_since(connection, since, _RESTORED))
        for number, row in enumerate(rows):
            self.learn(from_row(row))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _find(self, kind: Signature) -> Estimate | None:
        return next((found for key, _ in kind.keys if (found := self._prepared.get(key))), None)

    def _signature(self, job: Kind) -> Signature:
        """Remembered by what it is made of: a script of 16 KiB takes longer than all else in a submission."""
        text = "\0".join((str(job.uid), job.job_name, job.partition, str(job.array), job.image, job.script))
        digest = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()
        known = self._signatures.get(digest)
        if known is None:
            known = signature(
                job.uid,
                script=job.script,
                job_name=job.job_name,
                partition=job.partition,
                array=job.array,
                image=job.image,
            )
            _remember(self._signatures, digest, known)
        return known

    def _policy(self, partition: str) -> Policy:
        policies = self._settings.config.service.sizing
        return policies.get(partition) or policies.get("*") or "advise"


def run_of(job: EndedJob) -> Run | None:
    """What an ended job teaches; None where it was cancelled, or failed by itself: it may have needed more."""
    asked = float(job.asked_memory)
    if job.cause == "memory":
        return Run(peak=asked or float(job.peak), seconds=job.seconds, asked=asked, out_of_memory=True)
    if job.cause == "time":
        return Run(peak=float(job.peak), seconds=float(job.time_limit) or job.seconds, asked=asked, out_of_time=True)
    if job.cause == "well":
        return Run(peak=float(job.peak), seconds=job.seconds, hot=float(job.hot), asked=asked)
    return None


def _remember(kept: OrderedDict[K, V], key: K, value: V, most: int = _RECENT) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)

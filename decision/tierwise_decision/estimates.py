"""The estimate for a submission: prepared by what learns (sizing.py), here it is only looked up."""

import hashlib
from collections import OrderedDict
from typing import Protocol

import msgspec

from tierwise_decision.known import Known, remember
from tierwise_decision.settings import Settings
from tierwise_policy.signature import Signature, signature
from tierwise_policy.sizing import Asked, Estimate, Limits, Policy, limits_for

_RECENT = 20_000
"""Submissions whose signature is remembered."""


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


class Estimates:
    """Looks up."""

    def __init__(self, settings: Settings, known: Known) -> None:
        self._settings, self._known = settings, known
        self._signatures: OrderedDict[bytes, Signature] = OrderedDict()

    def find(self, job: Kind) -> Estimate | None:
        """The prepared estimate for a submission, from the nearest kind that has a history. Microseconds."""
        return self._known.estimate(self.signature(job))

    def size(self, job: Kind, asked: Asked) -> Sized:
        """The estimate for a submission, and what becomes of its limits by its partition's policy."""
        found = self.find(job)
        if found is None:
            return Sized()
        return Sized(found, limits_for(found, asked, self._policy(job.partition)))

    def signature(self, job: Kind) -> Signature:
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
            remember(self._signatures, digest, known, _RECENT)
        return known

    def _policy(self, partition: str) -> Policy:
        policies = self._settings.config.service.sizing
        return policies.get(partition) or policies.get("*") or "advise"

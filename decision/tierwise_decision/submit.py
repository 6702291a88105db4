"""The hook's question about one submission, and its answer (docs/protocol.md, submit). Never asks the database."""

import time
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tierwise.directive import CLASSES, Request, parse_directive
from tierwise.errors import DirectiveError, ProtocolError, RequestTooLargeError
from tierwise.messages import Count
from tierwise_decision.cluster import Cluster
from tierwise_decision.planning import NO_HISTORY, SWITCHED_OFF, Outlook, outlook
from tierwise_decision.requests import Requested, Requests, new_token
from tierwise_decision.settings import Settings

Answer = dict[str, str | int]
_KEPT = 256
"""Characters of a job's name, account and partition that are kept."""
_MAX_NOTICE = 512


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as Slurm has it. `mem` is bytes per node, 0 when not known."""

    op: Literal["submit"]
    nonce: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,64}$")]
    uid: Annotated[int, Meta(ge=0, lt=1 << 32)]
    partition: str = ""
    nodes: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0
    tier: str = ""
    mem: Count = 0
    mem_from: Literal["user", "default", "unknown"] = "unknown"
    whole_node: bool = False
    user_gres: bool = False
    launch: Literal["sbatch", "other"] = "sbatch"
    job_name: str = ""
    account: str = ""
    retry: Annotated[int, Meta(ge=0, le=9)] = 0


def parse_submission(fields: Mapping[str, str]) -> Submission:
    """Check a message's fields. Raises ProtocolError."""
    try:
        return msgspec.convert(fields, Submission, strict=False)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"not a submission: {error}") from None


class Submit:
    """Answers submissions."""

    def __init__(self, settings: Settings, cluster: Cluster, requests: Requests) -> None:
        self._settings = settings
        self._cluster = cluster
        self._requests = requests

    def answer(self, job: Submission) -> Answer:
        """What the hook is to write onto the job."""
        answer = self._planned(job)
        return self._known_by_token(job, answer) if answer["status"] == "none" and job.retry else answer

    def _planned(self, job: Submission) -> Answer:
        """What the directive asks for. A directive that isn't in the grammar is no reason to refuse it:
        the terminal's check (SPANK) was by-passed or is another version's."""
        if not job.tier:
            return _none(job, NO_HISTORY)
        try:
            request = parse_directive(job.tier)
        except DirectiveError as error:
            return _none(job, f"--tier is ignored: {error}")
        if request.mode != "classes":
            return _none(job, SWITCHED_OFF if request.mode == "off" else NO_HISTORY)
        try:
            expected = self._outlook(job, request)
        except RequestTooLargeError as error:
            return {"status": "refused", "nonce": job.nonce, "reason": f"--tier={job.tier}: {error}"[:_MAX_NOTICE]}
        config = self._settings.config.service
        gres = expected.gres if config.gres and not job.user_gres and job.launch == "sbatch" else ""
        notice = "; ".join(expected.notices)[:_MAX_NOTICE]
        token = new_token()
        self._requests.add(_requested(job, str(request), token, gres, notice))
        answer: Answer = {"status": "ok", "nonce": job.nonce, "token": token}
        optional = {"gres": gres, "prefer": _preferred(request, config.prefer), "notice": notice}
        return answer | {key: value for key, value in optional.items() if value}

    def gres(self, request: Requested, memory: int) -> str:
        """The GRES that a request known already gets with other memory per node."""
        asked = parse_directive(request.directive) if request.directive else Request("auto")
        if asked.mode != "classes" or not self._settings.config.service.gres:
            return ""
        share = self._settings.config.agent.pin_share
        shapes = self._cluster.shapes()
        return outlook(asked, memory, explicit=False, whole_node=False, shapes=shapes, pin_share=share).gres

    def _known_by_token(self, job: Submission, answer: Answer) -> Answer:
        """A job that is left to the kernel but may be requeued has to be known again."""
        token = new_token()
        self._requests.add(_requested(job, job.tier, token, "", str(answer["notice"])))
        return {**answer, "status": "ok", "token": token}

    def _outlook(self, job: Submission, request: Request) -> Outlook:
        return outlook(
            request,
            job.mem,
            explicit=job.mem_from == "user" and job.mem > 0,
            whole_node=job.whole_node,
            shapes=self._cluster.shapes(),
            pin_share=self._settings.config.agent.pin_share,
        )


def _none(job: Submission, notice: str) -> Answer:
    return {"status": "none", "nonce": job.nonce, "notice": notice}


def _preferred(request: Request, features: Mapping[str, str]) -> str:
    """The feature for the first class, in the order of CLASSES, that has one: Slurm's --prefer is one wish."""
    asked = {part.memory_class for part in request.classes}
    return next((features[name] for name in CLASSES if name in asked and features.get(name)), "")


def _requested(job: Submission, directive: str, token: str, gres: str, notice: str) -> Requested:
    return Requested(
        token=token,
        time=time.time_ns(),
        uid=job.uid,
        directive=directive[:_KEPT],
        memory=job.mem,
        memory_from=job.mem_from,
        whole_node=job.whole_node,
        partition=job.partition[:_KEPT],
        nodes=job.nodes,
        launch=job.launch,
        job_name=job.job_name[:_KEPT],
        account=job.account[:_KEPT],
        gres=gres,
        notice=notice,
        retry=job.retry,
    )

"""The hook's question about one submission, and its answer (docs/protocol.md, submit). Never asks the database."""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tierwise.directive import CLASSES, Request, parse_directive
from tierwise.errors import DirectiveError, ProtocolError, RequestTooLargeError
from tierwise.messages import Count
from tierwise.units import format_size
from tierwise_decision.estimates import Estimates, Sized
from tierwise_decision.known import Known
from tierwise_decision.link import Answer, Excluded, Submitted
from tierwise_decision.outlooks import Outlooks
from tierwise_decision.planning import BY_PREDICTION, NO_HISTORY, NOTHING_STANDS_OUT, SWITCHED_OFF
from tierwise_decision.requested import Requested, new_token
from tierwise_decision.settings import Settings
from tierwise_policy.selection import Wanted
from tierwise_policy.sizing import Asked, Estimate, Limits

_KEPT = 256
"""Characters of a job's name, account and partition that are kept."""
_MAX_NOTICE = 512


Number = Annotated[str, Meta(pattern=r"^([0-9]{1,18})?$")]
"""A whole number; empty: nothing said."""


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
    time: Count = 0
    """Seconds; 0: the user gave no limit."""
    array: bool = False
    image: str = ""
    script: str = ""
    retry: Annotated[int, Meta(ge=0, le=9)] = 0
    cpus: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0
    net: Number = ""
    """Bytes per second that each node's network should carry."""
    latency: Number = ""
    """The longest round trip to other nodes, in nanoseconds."""


def parse_submission(fields: Mapping[str, str]) -> Submission:
    """Check a message's fields. Raises ProtocolError."""
    try:
        return msgspec.convert(fields, Submission, strict=False)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"not a submission: {error}") from None


class Submit:
    """Answers submissions from what is `known`; `tell` hears of those that got a token."""

    def __init__(self, settings: Settings, known: Known, tell: Callable[[Submitted | Excluded], None]) -> None:
        self._settings, self._known, self._tell = settings, known, tell
        self._outlooks = Outlooks(settings, known)
        self._estimates = Estimates(settings, known)

    def answer(self, job: Submission) -> Answer:
        """What the hook is to write onto the job."""
        answer = self._planned(job)
        exclude = self._settings.config.service.exclude and job.tier != "off"
        names = self._known.to_avoid(job.partition, wanted(job)) if exclude else ()
        if answer["status"] == "none" and (job.retry or names):
            answer = self._known_by_token(job, answer)
        if names and answer["status"] == "ok":
            self._tell(Excluded(str(answer["token"]), names))
            answer = {**answer, "exclude": ",".join(names)}
        return answer

    def _planned(self, job: Submission) -> Answer:
        """What the directive asks for. A directive that isn't in the grammar is no reason to refuse it:
        the terminal's check (SPANK) was by-passed or is another version's."""
        try:
            request = parse_directive(job.tier) if job.tier else Request("auto")
        except DirectiveError as error:
            return _none(job, f"--tier is ignored: {error}")
        if request.mode == "off":
            return _none(job, SWITCHED_OFF)
        sized = self._estimates.size(job, _asked(job, request))
        limits = sized.limits
        if limits.memory:
            job = msgspec.structs.replace(job, mem=limits.memory, whole_node=False)
        if request.mode == "classes":
            return self._placed(job, request, limits, limits.notices, explicit=job.mem_from == "user" and job.mem > 0)
        if sized.estimate is None or sized.estimate.request is None:
            return self._left_to_the_kernel(job, sized)
        notices = (_by_prediction(sized.estimate), *limits.notices)
        return self._placed(job, sized.estimate.request, limits, notices, explicit=False)

    def _placed(
        self, job: Submission, request: Request, limits: Limits, notices: tuple[str, ...], *, explicit: bool
    ) -> Answer:
        """A job whose classes are known: `explicit` sizes beyond its memory are refused."""
        try:
            expected = self._outlooks.of(request, job.mem, explicit=explicit, whole_node=job.whole_node)
        except RequestTooLargeError as error:
            return {"status": "refused", "nonce": job.nonce, "reason": f"--tier={job.tier}: {error}"[:_MAX_NOTICE]}
        config = self._settings.config.service
        gres = expected.gres if config.gres and not job.user_gres and job.launch == "sbatch" else ""
        notice = "; ".join((*notices, *expected.notices))[:_MAX_NOTICE]
        answer = self._with_token(job, str(request), gres, notice)
        optional = {"gres": gres, "prefer": _preferred(request, config.prefer), "notice": notice}
        answer |= {key: value for key, value in optional.items() if value}
        return answer | _written(limits) | _advice(job, limits)

    def _left_to_the_kernel(self, job: Submission, sized: Sized) -> Answer:
        """A job whose classes nobody knows: its limits may be set all the same, and its user may be advised."""
        limits = sized.limits
        reason = NOTHING_STANDS_OUT if sized.estimate else NO_HISTORY
        notice = "; ".join((*limits.notices, reason))[:_MAX_NOTICE]
        answer = _none(job, notice) | _advice(job, limits)
        written = _written(limits)
        return answer | self._with_token(job, job.tier, "", notice) | written if written else answer

    def _known_by_token(self, job: Submission, answer: Answer) -> Answer:
        """A job that is left to the kernel but may be requeued has to be known again."""
        return answer | self._with_token(job, job.tier, "", str(answer["notice"]))

    def _with_token(self, job: Submission, directive: str, gres: str, notice: str) -> Answer:
        """A submission gets a token of its own: its nodes, and its end, will name it."""
        token = new_token()
        self._tell(Submitted(_requested(job, directive, token, gres, notice), self._estimates.signature(job)))
        return {"status": "ok", "nonce": job.nonce, "token": token}


def wanted(job: Submission) -> Wanted:
    """What a submission asks of its nodes."""
    return Wanted(
        nodes=max(job.nodes, 1),
        cpus=job.cpus,
        memory=job.mem,
        network=int(job.net or 0),
        latency_ns=int(job.latency or 0),
    )


def _asked(job: Submission, request: Request) -> Asked:
    """What a submission's user said of its limits; `auto` only where it was written."""
    given = job.mem_from == "user"
    return Asked(job.mem, given, job.time, job.time > 0, auto=bool(job.tier) and request.mode == "auto")


def _written(limits: Limits) -> Answer:
    found = {"mem": limits.memory, "time": limits.seconds}
    return {name: value for name, value in found.items() if value}


def _by_prediction(estimate: Estimate) -> str:
    return f"{BY_PREDICTION}: {format_size(estimate.hot)} as lat, the rest as cap ({estimate.basis})"


def _advice(job: Submission, limits: Limits) -> Answer:
    """What even a user who gave no directive is told."""
    return {"advice": "; ".join(limits.notices)[:_MAX_NOTICE]} if limits.notices and not job.tier else {}


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
        cpus=job.cpus,
        net=int(job.net or 0),
        latency_ns=int(job.latency or 0),
    )

"""What the agent answers on its socket (docs/protocol.md), and to whom: root, or the job's own user."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tierwise.directive import MAX_LENGTH
from tierwise.errors import DirectiveError, ProtocolError
from tierwise.lines import number, user_id
from tierwise.messages import Heatmap, Mechanism, PlanKey
from tierwise.plans import Plan
from tierwise_node.cgroups import Cgroups
from tierwise_node.endings import Endings
from tierwise_node.jobs import Jobs
from tierwise_node.planner import step_policy
from tierwise_node.record import JobRecord
from tierwise_node.rights import Rights
from tierwise_node.server import Peer
from tierwise_node.staging.answers import StageAnswers
from tierwise_node.tiers import Topology

Fields = dict[str, str]
Reply = dict[str, str | int]
PROLOG_WAIT = 1.0
"""Seconds after which a prolog is let go, while its plan is still being made."""
LARGEST_PICTURE = 96
"""Rows and columns of a heatmap, at most: an answer is bounded."""
POLICY_WAS_SET = "a memory policy was set already (--mem-bind, or the user's own): ours is not applied"
_TOKEN = re.compile(r"\btierwise=([0-9a-f]{16})\b")


class Answers:
    """Answers one message at a time. `doctor` looks at the host's mechanisms; `marks` is where epilogs leave theirs."""

    def __init__(
        self,
        jobs: Jobs,
        cgroups: Cgroups,
        topology: Topology,
        doctor: Callable[[], tuple[Mechanism, ...]],
        marks: Path,
        staging: StageAnswers | None = None,
        heatmap: Callable[[int, int, int], Heatmap | None] | None = None,
    ) -> None:
        self._jobs, self._cgroups, self._topology, self._doctor = jobs, cgroups, topology, doctor
        self._preparing: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.Task[tuple[Mechanism, ...]] | None = None
        self._operations = {
            "prolog": self._prolog,
            "epilog": self._epilog,
            "task": self._task,
            "exit": self._exit,
            "job": self._job,
            "status": self._status,
            "doctor": self._ask_doctor,
            "events": self._events,
            "heatmap": self._ask_heatmap,
        }
        self._heatmap, self._drawing = heatmap, asyncio.Lock()
        self.endings = Endings(marks, self._end)
        self._rights = Rights(jobs, cgroups)
        self._staging = staging
        if staging is not None:
            self._operations |= staging.operations

    async def __call__(self, peer: Peer, fields: Fields) -> Reply:
        """The answer to one message. Raises ProtocolError."""
        operation = self._operations.get(fields.get("op", ""))
        if operation is None:
            raise ProtocolError(f"op must be one of {', '.join(self._operations)}")
        return await operation(peer, fields)

    # --- Slurm's side -----------------------------------------------------------------------------------------------

    async def _prolog(self, peer: Peer, fields: Fields) -> Reply:
        if peer.uid != 0:
            return _refused("only root may tell of a job's start")
        token = _TOKEN.search(fields.get("comment", ""))
        key = PlanKey(number(fields, "job_id"), token[1] if token else "", number(fields, "restart", 0))
        uid = user_id(fields)
        scratch = number(fields, "scratch", 0) if self._staging is not None else 0
        await self.endings.end_marked(key.job_id)
        work = asyncio.create_task(self._begin(key, uid, fields, scratch))
        self._preparing.add(work)
        work.add_done_callback(self._preparing.discard)
        done, _ = await asyncio.wait([work], timeout=PROLOG_WAIT)
        for each in done:
            each.result()
        return {"status": "ok"}

    async def _begin(self, key: PlanKey, uid: int, fields: Fields, scratch: int) -> None:
        """The plan, then staging: it says where the copies lie."""
        try:
            await self._jobs.prolog(key, uid, _directive(fields), scratch)
        finally:
            if self._staging is not None:
                await self._staging.prolog(key.job_id, uid, fields)

    async def _epilog(self, peer: Peer, fields: Fields) -> Reply:
        if peer.uid != 0:
            return _refused("only root may tell of a job's end")
        await self.endings.end(number(fields, "job_id"))
        return {"status": "ok"}

    async def _end(self, job_id: int) -> None:
        await self._jobs.end(job_id)
        if self._staging is not None:
            await self._staging.epilog(job_id)

    async def _exit(self, peer: Peer, fields: Fields) -> Reply:
        job_id = number(fields, "job_id")
        if peer.uid != 0 and not self._may_see(peer, job_id):
            return _refused(f"job {job_id} is not yours")
        self._jobs.observe_one(job_id)
        return {"status": "ok"}

    async def _task(self, peer: Peer, fields: Fields) -> Reply:
        job_id, uid = number(fields, "job_id"), user_id(fields)
        if reason := self._rights.task_refusal(peer, job_id, uid):
            return _refused(reason)
        key = PlanKey(job_id, "", number(fields, "restart", 0))
        memory = number(fields, "mem", 0)
        record = await self._jobs.task(key, uid, _directive(fields), memory)
        if record.plan is None:
            return {"status": "none", "reason": record.reason}
        if fields.get("policy_set") == "1":
            self._jobs.plans.degrade(record, POLICY_WAS_SET)
        return self._policy(record.plan, record, _directive(fields))

    def _policy(self, plan: Plan, record: JobRecord, directive: str) -> Reply:
        try:
            policy = step_policy(directive, record.directive, plan, record.memory, self._jobs.tiers())
        except (DirectiveError, ValueError) as error:
            return _refused(str(error))
        # its own choice needs no policy, and keeps what a policy would end: huge pages from near, promotion by itself
        own = policy.mode == "preferred_many" and self._topology.is_kernels_choice(policy.tiers)
        return {
            "status": "ok",
            "policy": "default" if own else policy.mode,
            "nodes": ",".join(map(str, self._topology.nodes(policy.tiers))),
            "numa_balancing": int(policy.numa_balancing),
            "degraded": "; ".join(plan.degraded),
        }

    # --- people's side ------------------------------------------------------------------------------------------------

    async def _job(self, peer: Peer, fields: Fields) -> Reply:
        job_id = number(fields, "job_id")
        if not self._may_see(peer, job_id):
            return _refused(f"job {job_id} is not yours, or not on this node")
        return _json(self._jobs.sample(self._jobs.records[job_id]))

    async def _events(self, peer: Peer, fields: Fields) -> Reply:
        since, job_id = number(fields, "since", 0), number(fields, "job_id", 0)
        return _json(self._jobs.events.since(since, peer.uid, job_id))

    async def _status(self, peer: Peer, fields: Fields) -> Reply:
        return _json(self._jobs.node_sample(peer.uid))

    async def _ask_heatmap(self, peer: Peer, fields: Fields) -> Reply:
        job_id = number(fields, "job_id")
        if not self._may_see(peer, job_id):
            return _refused(f"job {job_id} is not yours, or not on this node")
        rows, columns = (min(number(fields, key, 32), LARGEST_PICTURE) for key in ("rows", "columns"))
        async with self._drawing:  # one at a time and apart: a long history takes more than 10 ms
            picture = await asyncio.to_thread(self._heatmap, job_id, rows, columns) if self._heatmap else None
        if picture is None:
            return _refused(f"nothing was seen of job {job_id} yet: it is small or young, or see `tierctl doctor`")
        return _json(picture)

    async def _ask_doctor(self, peer: Peer, fields: Fields) -> Reply:
        """Whoever asks while the doctor looks gets what it finds: it may take seconds, and movers need threads, too."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(asyncio.to_thread(self._doctor))
        return _json(await asyncio.shield(self._looking))

    def _may_see(self, peer: Peer, job_id: int) -> bool:
        record = self._jobs.records.get(job_id)
        return record is not None and peer.uid in (0, record.uid)


def _refused(reason: str) -> Reply:
    return {"status": "refused", "reason": reason}


def _json(value: object) -> Reply:
    return {"status": "ok", "json": msgspec.json.encode(value).decode()}


def _directive(fields: Fields) -> str:
    """The directive as it came, empty when it is too long to be one. Raises ProtocolError."""
    directive = fields.get("tier", "")
    if len(directive) > MAX_LENGTH:
        raise ProtocolError(f"tier is longer than {MAX_LENGTH} characters")
    return directive

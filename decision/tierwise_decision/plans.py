"""The final plan of a job on a node: made once, the same whenever its agent asks again."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from tierwise.directive import Request, parse_directive
from tierwise.errors import DirectiveError, RefusedError, UnavailableError
from tierwise.messages import PlanAnswer, PlanKey, PlanQuery
from tierwise_decision.database import reads
from tierwise_decision.database.store import Store
from tierwise_decision.planning import BY_PREDICTION, NO_HISTORY, SWITCHED_OFF, final_plan
from tierwise_decision.requested import Requested
from tierwise_decision.requests import Requests
from tierwise_decision.settings import Settings

MAX_RECENT = 50_000
UNKNOWN_MEMORY = "the job's memory on this node is not known: name sizes in bytes or set --mem"


class Plans:
    """Answers agents. A plan is written before it is answered, unless the database is slow or away."""

    def __init__(self, settings: Settings, requests: Requests, store: Store) -> None:
        self._settings = settings
        self._requests = requests
        self._store = store
        self.mended: Callable[[PlanQuery], Awaitable[int]] | None = None
        """What a requeued job asks for now, in bytes per node; 0: as before. Set by who requeues."""
        self._recent: OrderedDict[tuple[str, PlanKey], tuple[int, PlanAnswer]] = OrderedDict()

    async def answer(self, query: PlanQuery) -> PlanAnswer:
        """The plan. Raises RefusedError when the token or the key belongs to another user."""
        known = await self._find(query.node, query.key)
        request = await self._requests.find(query.key.token) if query.key.token else None
        if query.key.restart and not query.memory and self.mended:
            query = msgspec.structs.replace(query, memory=await self.mended(query))
        known = self._recent.get((query.node, query.key), known)  # another asked while we looked
        for owner in (known[0] if known else query.uid, request.uid if request else query.uid):
            if owner != query.uid:
                raise RefusedError(f"job {query.key.job_id} of uid {query.uid} came with what is uid {owner}'s")
        if known and _still_holds(known[1], query):
            return known[1]
        answer = self._decide(query, request)
        self._recent[query.node, query.key] = (query.uid, answer)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        if request:
            self._requests.claim(request.token)
        self._store.pending.answer(query.node, query.uid, time.time_ns(), answer)
        await self._store.committed(soon=True)
        return answer

    def recent(self, job_id: int) -> list[tuple[int, PlanAnswer]]:
        """The plans of a job that are still in memory, with their owners; the newest last."""
        return [known for (_, key), known in self._recent.items() if key.job_id == job_id]

    async def _find(self, node: str, key: PlanKey) -> tuple[int, PlanAnswer] | None:
        if known := self._recent.get((node, key)):
            return known
        try:
            return await self._store.read(lambda connection: reads.answer(connection, node, key))
        except UnavailableError:
            return None

    def _decide(self, query: PlanQuery, request: Requested | None) -> PlanAnswer:
        directive = request.directive if request else query.directive
        memory = query.memory or max((request.memory if request else 0) - query.scratch, 0)
        if not memory and request and request.whole_node:
            memory = sum(tier.capacity for tier in query.tiers)
        try:
            asked = parse_directive(directive) if directive else Request("auto")
        except DirectiveError as error:
            return PlanAnswer(query.key, directive, memory, None, f"--tier is ignored: {error}")
        if asked.mode != "classes":
            reason = SWITCHED_OFF if asked.mode == "off" else NO_HISTORY
            return PlanAnswer(query.key, directive, memory, None, reason)
        share = self._settings.config.agent.pin_share
        plan = final_plan(asked, memory, query.tiers, query.evictable, query.displaceable, share)
        if not plan.parts:
            return PlanAnswer(query.key, directive, memory, None, UNKNOWN_MEMORY)
        return PlanAnswer(query.key, directive, memory, plan, basis=_basis(request))


def _basis(request: Requested | None) -> str:
    """Where the classes of a plan come from."""
    if request is None:
        return "the directive that the node saw"
    first, _, _ = request.notice.partition("; ")
    return first if first.startswith(BY_PREDICTION) else "the directive at submission"


def _still_holds(answer: PlanAnswer, query: PlanQuery) -> bool:
    """A plan made before its job's memory or directive was known is made again once they are."""
    return bool(answer.memory or not query.memory) and bool(answer.directive or not query.directive)

"""Which plan a job gets here: the decision service's, or, when it can't be asked, our own from the same policy code.

Nothing here waits longer than the budget for the service, and nothing here fails: a job without a plan runs as if
Tierwise were not installed, and the reason says why.
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from tierwise.directive import Request, parse_directive
from tierwise.errors import DirectiveError, ProtocolError, RefusedError, TierwiseError, UnavailableError
from tierwise.messages import PlanAnswer, PlanKey, PlanQuery
from tierwise.plans import MemoryPolicy, Plan
from tierwise.tiers import Tier, TierName
from tierwise.units import format_size
from tierwise_node.cgroups import Usage
from tierwise_node.record import JobRecord
from tierwise_policy.allocation import TierRoom, allocate
from tierwise_policy.lending import start
from tierwise_policy.sizes import SizedClass, resolve

log = logging.getLogger(__name__)
PAUSE = 10.0
"""Seconds for which a service that did not answer is not asked again, unless it answers another question meanwhile: a
job's start must not wait for it each time."""
Ask = Callable[[PlanQuery], Awaitable[PlanAnswer]]


class Planner:
    """Makes plans. `ask` puts a query to the decision service, raising TierwiseError; it keeps its own budget.

    `heard`: when the service last answered anything here (monotonic seconds).
    """

    def __init__(self, node: str, ask: Ask, pin_share: float, heard: Callable[[], float] = lambda: -math.inf) -> None:
        self._node, self._ask, self.pin_share, self._heard = node, ask, pin_share, heard
        self._missed = -math.inf
        self._told = ""

    async def plan(
        self,
        key: PlanKey,
        uid: int,
        directive: str,
        memory: int,
        tiers: tuple[Tier, ...],
        room: dict[TierName, int],
        more: dict[TierName, int] | None = None,
        scratch: int = 0,
    ) -> PlanAnswer:
        """The plan of a job that starts. `memory`, without its `scratch`, is 0 where it is not known yet.

        `room`: what is evictable per tier; `more`: what others would give up beyond it for a LAT or SHL part.
        """
        more = more or {}
        if not self._is_silent():
            try:
                answer = await self._ask(PlanQuery(self._node, key, uid, directive, memory, tiers, room, more, scratch))
                _check(answer, key, tiers)
                self._told = ""
                return answer
            except UnavailableError as error:
                self._missed = time.monotonic()
                self._tell(error)
            except RefusedError as error:
                self._tell(error)
                why = f"decision service refused: {error}"[:400]
                return self._own(key, directive, memory, tiers, room, more, why)
            except TierwiseError as error:
                self._tell(error)
        return self._own(key, directive, memory, tiers, room, more, "no answer from the decision service")

    def _is_silent(self) -> bool:
        return self._heard() < self._missed and time.monotonic() < self._missed + PAUSE

    def _tell(self, error: TierwiseError) -> None:
        if str(error) != self._told:
            log.error("%s: this node plans by itself meanwhile", error)
        self._told = str(error)

    def _own(
        self,
        key: PlanKey,
        directive: str,
        memory: int,
        tiers: Iterable[Tier],
        room: Mapping[TierName, int],
        more: Mapping[TierName, int],
        why: str,
    ) -> PlanAnswer:
        here = f"{why}: planned on the node"
        try:
            request = parse_directive(directive) if directive else Request("auto")
        except DirectiveError as error:
            return PlanAnswer(key, directive, memory, None, f"the directive can't be used: {error}")
        if request.mode != "classes":
            left = "switched off by --tier=off" if request.mode == "off" else "no history yet"
            return PlanAnswer(key, directive, memory, None, f"{left}: the kernel places it ({here})")
        if not memory and any(part.size is None for part in request.classes):
            return PlanAnswer(key, directive, 0, None, f"the job's memory is not known yet ({here})")
        rooms = [
            TierRoom(
                tier.name, free := room[tier.name], tier.bandwidth, free + (given := more.get(tier.name, 0)), given
            )
            for tier in tiers
        ]
        plan = allocate(resolve(request, memory, explicit=False), rooms, pin_share=self.pin_share)
        return PlanAnswer(key, directive, memory, plan, here)


def _check(answer: PlanAnswer, key: PlanKey, tiers: Iterable[Tier]) -> None:
    """A service that lies is a service that is away. Raises ProtocolError."""
    if answer.key != key:
        raise ProtocolError(f"the decision service answered for job {answer.key} when asked for job {key}")
    if answer.plan and (unknown := set(answer.plan.tiers) - {tier.name for tier in tiers}):
        raise ProtocolError(f"the decision service planned on {', '.join(sorted(unknown))}, which this node has not")


def evictable(
    tiers: Iterable[Tier], records: Iterable[JobRecord], usages: Mapping[int, Usage], but: int
) -> dict[TierName, int]:
    """What each tier can give a new job: free, less what earlier plans may still grow into.

    Jobs without a plan may grow into the fastest tier, up to their limit. `but` is the new job itself.
    """
    room = {tier.name: tier.free for tier in tiers}
    fastest = next(iter(room))
    for record in records:
        if record.key.job_id == but:
            continue
        if record.plan is not None:
            planned, granted = record.plan.tiers, record.plan.granted
            for tier in room:
                may_hold = planned.get(tier, 0) + granted.get(tier, 0)
                room[tier] -= max(may_hold - record.found.get(tier, 0), 0)
        elif (usage := usages.get(record.key.job_id)) and usage.limit is not None:
            room[fastest] -= max(usage.limit - usage.used, 0)
    return {tier: max(size, 0) for tier, size in room.items()}


def step_policy(directive: str, job_directive: str, plan: Plan, memory: int, tiers: Iterable[Tier]) -> MemoryPolicy:
    """The initial policy of one step's tasks: the job's, or that of a smaller request which fits the job's plan.

    Raises DirectiveError (not in the grammar) or ValueError (does not fit, with the reason).
    """
    if not directive or directive == job_directive:
        return start(plan, list(tiers))
    request = parse_directive(directive)
    if request.mode == "off":
        return MemoryPolicy()
    if request.mode == "auto":
        return start(plan, list(tiers))
    parts = {part.memory_class: part for part in plan.parts}
    wanted: list[SizedClass] = []
    for asked in request.classes:
        if asked.memory_class not in parts:
            raise ValueError(f"--tier={directive}: the job's plan ({job_directive}) has no {asked.memory_class} part")
        has = parts[asked.memory_class].size - parts[asked.memory_class].unplaced
        size = memory * asked.percent // 100 if asked.percent is not None else asked.size or has
        if size > has:
            raise ValueError(
                f"--tier={directive}: {format_size(size)} of {asked.memory_class}, but the job's plan "
                f"({job_directive}) has {format_size(has)}"
            )
        wanted.append(SizedClass(asked.memory_class, size))
    rooms = [
        TierRoom(tier.name, sum(parts[part.memory_class].tiers.get(tier.name, 0) for part in wanted), tier.bandwidth, 0)
        for tier in tiers
    ]
    return allocate(wanted, rooms).policy

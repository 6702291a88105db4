"""Staging ahead: what pending jobs will read on nodes that they named, as burst_buffer/lua tells of it, until the
node's agent fetches it with the answer to its next measurements.

In memory alone, and at the service that was told. What is lost costs no job anything: its prolog stages all the same.
"""

import time
from collections.abc import Callable, Mapping

from tierwise.errors import ProtocolError
from tierwise.hostlist import expand
from tierwise.lines import user_id
from tierwise.telemetry import StageAhead
from tierwise_decision.link import Answer

LASTS = 600.0
"""Seconds after which nobody fetches it any more: an agent asks at least once a minute."""
MOST_AT_ONCE, MOST_PER_NODE, MOST_PATH = 4096, 64, 4096


class Ahead:
    """What is to be staged on each node. `knows` says whether there is such a node."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        self._knows = knows
        self._nodes: dict[str, dict[StageAhead, float]] = {}

    async def told(self, fields: Mapping[str, str]) -> Answer:
        """The answer to `op=ahead`. Raises ProtocolError."""
        uid, paths = user_id(fields), fields.get("stage", "").split(",")
        try:
            nodes = expand(fields.get("nodes", ""))
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        if not all(0 < len(path) <= MOST_PATH for path in paths) or len(nodes) * len(paths) > MOST_AT_ONCE:
            raise ProtocolError(f"{len(paths)} paths on {len(nodes)} nodes: too many, or names that are none")
        until = time.monotonic() + LASTS
        for node in filter(self._knows, nodes):
            orders = self._nodes.setdefault(node, {})
            orders |= {StageAhead(uid, path): until for path in paths[: MOST_PER_NODE - len(orders)]}
        return {"status": "ok"}

    def take(self, node: str) -> tuple[StageAhead, ...]:
        """What a node has not heard of yet."""
        now = time.monotonic()
        return tuple(order for order, until in self._nodes.pop(node, {}).items() if until > now)

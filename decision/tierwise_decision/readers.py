"""Whose turn it is to read a source that many nodes want to stage: at most so many at once, so that one disk serves
them one after the other and not all of them slowly.

In memory alone: after a restart of the service some nodes more read at once, for as long as a turn lasts.
"""

import time

from litestar import post

from tierwise.messages import ReadTurn, ReadTurnAnswer
from tierwise_decision.guards import Asked, agents_only

LASTS = 30.0
"""Seconds after which a node that doesn't say that it still reads has ended, or died."""
MOST_SOURCES = 10_000


class Readers:
    """Turns at every source; at most `limit` nodes have one at the same time. 0: as many as like."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._turns: dict[str, dict[str, float]] = {}

    def ask(self, turn: ReadTurn, now: float) -> bool:
        """Whether the node may read, or go on; `done` ends its turn. `now`: seconds of a clock that only runs on."""
        turns = {node: until for node, until in self._turns.pop(turn.source, {}).items() if until > now}
        if turn.done:
            turns.pop(turn.node, None)
        granted = not turn.done and (turn.node in turns or not self._limit or len(turns) < self._limit)
        if granted:
            turns[turn.node] = now + LASTS
        if turns:
            self._turns[turn.source] = turns  # at the end: the first is the one that nobody asked about for longest
        while len(self._turns) > MOST_SOURCES:
            del self._turns[next(iter(self._turns))]
        return granted


@post("/v1/stage/turns", guards=[agents_only], status_code=200, summary="Whether a node may read a source now")
async def read_turn(request: Asked, data: ReadTurn) -> ReadTurnAnswer:
    """For agents, before they stage a source, and every 10 s while they do."""
    readers: Readers = request.app.state["readers"]
    return ReadTurnAnswer(readers.ask(data, time.monotonic()))

"""Slurm's nodes as they were a moment ago: asked now and then in a thread, so that nobody waits for slurmctld."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from tierwise.errors import UnavailableError
from tierwise.slurm import SlurmError
from tierwise.slurmnodes import SlurmNode, SlurmNodes
from tierwise_decision.complaints import Complaints
from tierwise_decision.known import Known

T = TypeVar("T")
OLD = 60.0
"""Seconds after which what we know of the nodes is looked up again."""


class SlurmView:
    """What Slurm says. `client` is None where there is none: then nothing is known."""

    def __init__(self, client: SlurmNodes | None, known: Known, complain: Complaints) -> None:
        self._client, self._known, self._complain = client, known, complain
        self._looked = 0.0
        self.nodes: Mapping[str, SlurmNode] = {}
        """As of the last look; empty before the first, and where Slurm can't be asked."""

    @property
    def installed(self) -> bool:
        """Whether there is a client at all."""
        return self._client is not None

    def knows(self, node: str) -> bool | None:
        """Whether a node is in slurm.conf; None: nobody can say, or it may have come since the last look."""
        if not self.nodes or node in self.nodes:
            return True if self.nodes else None
        return None if time.monotonic() - self._looked > OLD else False

    async def look(self) -> None:
        """Ask now. Raises UnavailableError."""
        self.nodes, eligible = await self.ask(_nodes)
        self._looked = time.monotonic()
        self._known.partitions(eligible)

    async def ask(self, question: Callable[[SlurmNodes], T]) -> T:
        """Ask or tell Slurm something. Raises UnavailableError."""
        client = self._client
        if client is None:
            raise UnavailableError("no Slurm client is installed")
        try:
            return await asyncio.to_thread(question, client)
        except SlurmError as error:
            self._complain("slurm", str(error))
            raise UnavailableError(str(error)) from None


def _nodes(client: SlurmNodes) -> tuple[Mapping[str, SlurmNode], dict[str, set[str]]]:
    """The nodes, and the usable ones of each partition: put together here, for a submission that asks must not wait."""
    nodes = client.nodes()
    eligible: dict[str, set[str]] = {}
    for name, node in nodes.items():
        for partition in node.partitions if node.usable else ():
            eligible.setdefault(partition, set()).add(name)
    return nodes, eligible

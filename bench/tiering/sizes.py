"""What is frozen: the workflows, what each asks Tierwise for, how much memory it uses, and what the machine gives."""

from __future__ import annotations

from collections.abc import Iterable

from tierwise.units import MIB

DIRECTIVES = {
    "train": "bw",
    "etl": "lat",
    "compress": "cap",
    "bfs": "lat",
    "moving": "lat:25%,cap",
}
"""As a user would put it who knows the program: training reads all of its data over and over, queries and searches
wait for what they look up, compression uses each page once, and the synthetic one has a hot quarter."""

FOOTPRINT = {"train": 115 * MIB, "etl": 129 * MIB, "compress": 16 * MIB, "bfs": 61 * MIB, "moving": 81 * MIB}
"""Peak of each job's cgroup where all is DRAM, libraries and page cache included."""

SLACK = 1.1
LIBRARIES = 32 * MIB
"""Page cache of libraries that a program is charged with when nobody else has read them: more than any needs."""
DRAM_SHARE = 0.5
PMEM_SHARE = 0.25
ROOMY = 4096 * MIB
"""More than any tier of the machine has."""


def limit(workflow: str, alone: bool) -> int:
    """What a careful user asks for with --mem: a little more than the program uses. Where it is `alone` it is charged
    with libraries that it shares otherwise: without room for them the limit would make it swap."""
    return int(FOOTPRINT[workflow] * SLACK) + (LIBRARIES if alone else 0)


def free(memory: str, workflows: Iterable[str], dram: float = DRAM_SHARE) -> dict[int, int]:
    """Bytes of each node that these workflows may use; `memory` as in Environment."""
    footprint = sum(FOOTPRINT[name] for name in workflows)
    if memory == "dram":
        return {0: ROOMY, 1: ROOMY, 2: ROOMY}
    if memory == "swap":
        return {0: int(footprint * dram), 1: 0, 2: 0}
    return {0: int(footprint * dram), 1: int(footprint * PMEM_SHARE), 2: ROOMY}

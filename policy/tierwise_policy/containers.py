"""How many containers a training job is split into, and what each needs where there is no history (chapter 4).

The dissertation names the memory estimator's inputs (parameters, activations, batch size, input dimensions, data-type
width) and not its formula; ours counts what a training step keeps. Tests hold it against what real steps allocate.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from tierwise.units import format_size

FEWEST = 2
"""The smallest number of containers: the chapter's c_d starts here."""
_SLOWEST = 64
_RUNTIME = 280 * 10**6
"""Bytes of interpreter and framework before any model (4.3.2, measured there in all environments)."""


class Training(msgspec.Struct, frozen=True):
    """A training job. Counts of numbers, each `width` bytes wide.

    `parameters` are the model's weights, `activations` what one item leaves in all layers, `input_shape` the
    dimensions of an item, `items` how many there are in the data set. `states` is what the optimizer keeps of each
    weight (Adam 2, momentum 1, plain gradient descent 0). `cost` is what the user is ready to pay, `unit_cost` the
    price of a byte for a second; 0: not said.
    """

    parameters: int
    activations: int
    batch: int
    input_shape: Sequence[int]
    items: int = 0
    width: int = 4
    states: int = 2
    cost: float = 0.0
    unit_cost: float = 0.0


class Containers(msgspec.Struct, frozen=True):
    """`count` containers of `memory` bytes each; `why_not` says why it can't fit, and is empty where it does."""

    count: int
    memory: int
    why_not: str = ""


def training_memory(job: Training, containers: int = 1) -> int:
    """The estimate m_e in bytes of one of `containers` that share the data set equally.

    Weights, their gradients and the optimizer's states; a batch with its activations, and their gradients on the way
    back; the container's part of the data set; the framework itself.
    """
    item = math.prod(job.input_shape)
    weights = job.parameters * (2 + job.states)
    step = job.batch * (item + 2 * job.activations)
    data = math.ceil(job.items / containers) * item
    return _RUNTIME + job.width * (weights + step + data)


def count_containers(estimate: Callable[[int], int], limit: int, most: int) -> Containers:
    """The number c_d of containers with at most `limit` bytes (M) each, at most `most` (what the input splits into).

    `estimate` gives m_e for a number of containers, and never grows with it. While m_e > M, c_d grows by
    ceil((m_e − M) / M), as in the chapter. There it is unbounded and never ends for a model that alone is larger than
    M; and it crawls for one that is almost as large, so that we let it grow by a 64th at least.
    """
    if (least := estimate(most)) > limit:
        why = (
            f"even of {most} containers, as many as the input can be split into, each needs {format_size(least)}: "
            f"more than the limit of {format_size(limit)}; raise it, or make the batch or the model smaller"
        )
        return Containers(most, least, why)
    count = min(FEWEST, most)
    while (memory := estimate(count)) > limit:
        count = min(count + max(math.ceil((memory - limit) / limit), count // _SLOWEST), most)
    return Containers(count, memory)


def training_seconds(job: Training, found: Containers) -> float:
    """The expected time e_time = (cost / c_d) / (unit cost × m_e) of a job without history; 0 where no cost was said.

    It is what the money lasts for, and promises nothing about success.
    """
    return job.cost / found.count / (job.unit_cost * found.memory) if job.cost and job.unit_cost else 0.0

"""What all signatures together have taught: where a new one starts from, and what a short history is worth."""

import numpy as np
from numpy.typing import NDArray

from tierwise_policy.sizing.models import MODELS

Floats = NDArray[np.float64]

MARGINS = np.array([0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64])
"""What may be added to a model's level, as a share of it."""
_STAGES = 6
"""Histories of 1, 2 to 3, 4 to 7, … and at least 32 runs are kept apart: a long one needs smaller margins."""
_SCATTER = 0.05
"""How far apart two runs of the same kind are thought to lie before anything is known, as a share."""
_DISTRUST = 0.2
"""What other models than the largest have to win before they are believed, as a share of the need."""
_WEIGHT = 2.0
"""How many runs that first belief counts for."""


class Experience:
    """The mean loss of every choice (model × margin) by length of history, over all signatures seen so far.

    A loss is what a choice would have wasted of a run's need, and `price` more where it would have failed it.
    """

    def __init__(self, price: float) -> None:
        self._price = price
        self._sums: list[Floats] = [_first_belief(1 << stage, price) * _WEIGHT for stage in range(_STAGES)]
        self._counts = [_WEIGHT] * _STAGES

    def losses(self, runs: int) -> Floats:
        """The mean losses with a history of `runs` (at least 1), of shape (models, margins)."""
        stage = _stage(runs)
        return self._sums[stage] / self._counts[stage]

    def learn(self, runs: int, losses: Floats) -> None:
        """Add one run's losses, made with a history of `runs`."""
        stage = _stage(runs)
        self._sums[stage] = self._sums[stage] + losses
        self._counts[stage] += 1


def _stage(runs: int) -> int:
    return min(runs.bit_length() - 1, _STAGES - 1)


def _first_belief(runs: int, price: float) -> Floats:
    """A margin costs itself; too small a one fails a run that is a record, one of `runs` + 1, by _SCATTER or more."""
    failure = (2 + price) * np.exp(-MARGINS / _SCATTER) / (runs + 1)
    belief = np.tile(MARGINS + failure, (len(MODELS), 1))
    belief[1:] += _DISTRUST
    return belief

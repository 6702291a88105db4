"""One kind of job: its last runs, and which model with which margin would have served them best.

Every choice (model × margin) is tried on every run before the run is learned from: what it would have wasted, time
counted, and a price for each failure. The choice with the least loss so far sizes the next job, so a margin grows with
its own under-estimates, and shrinks with what it wastes. While a history is short, the experience of all kinds counts.
"""

import numpy as np
from numpy.typing import NDArray

from tierwise_policy.sizing.experience import MARGINS, Experience
from tierwise_policy.sizing.models import MODELS, levels
from tierwise_policy.sizing.waste import wasted

Floats = NDArray[np.float64]

_KEPT = 64
"""Runs that the models look at."""
_TRUST = 5.0
"""How many runs of its own a history needs to weigh as much as everybody's experience."""
_FADING = 0.97
"""What a loss still counts for after the next run: jobs change, and what they did last counts most."""


class Learner:
    """Learns from runs in their order. `price` of a failure, as a share of the need; sizes are at least `smallest`."""

    def __init__(self, experience: Experience, *, price: float, smallest: float) -> None:
        self.runs = 0
        """Runs seen so far, those forgotten included."""
        self._experience = experience
        self._price = price
        self._smallest = smallest
        self._inputs: Floats = np.empty(0)
        self._values: Floats = np.empty(0)
        self._losses = np.zeros((len(MODELS), len(MARGINS)))
        self._worth = 0.0
        self._count = 0.0

    @property
    def most(self) -> float:
        """The largest value that is remembered."""
        return float(self._values.max())

    def size(self, at: float, asked: float = 0.0) -> tuple[float, int, float]:
        """What the next job gets, with the number of its model and its margin. Needs at least one run.

        `at` is its input in bytes, 0 when not known. Never more than was asked for (where that is known), unless
        a run has needed more: what people ask for is nearly always enough.
        """
        choice = int(self._scores().argmin())
        model, margin = divmod(choice, len(MARGINS))
        return float(self._choices(at, asked)[model, margin]), model, float(MARGINS[margin])

    def learn(self, value: float, at: float, weight: float, asked: float = 0.0) -> None:
        """A run has needed `value`; `weight` is for how long (seconds), `at` and `asked` are as for `size`."""
        if self.runs:
            choices = self._choices(at, asked)
            losses = wasted(choices, value) / value + self._price * (choices < value)
            self._experience.learn(self.runs, losses)
            self._losses = self._losses * _FADING + losses * value * weight
            self._worth = self._worth * _FADING + value * weight
            self._count = self._count * _FADING + 1
        self._inputs = np.append(self._inputs[1 - _KEPT :], at)
        self._values = np.append(self._values[1 - _KEPT :], value)
        self.runs += 1

    def _scores(self) -> Floats:
        everybody = self._experience.losses(self.runs)
        if not self._worth:
            return everybody
        own = self._losses / self._worth
        return np.asarray((own * self._count + everybody * _TRUST) / (self._count + _TRUST))

    def _choices(self, at: float, asked: float) -> Floats:
        """What every model with every margin says, of shape (models, margins)."""
        level = levels(self._inputs, self._values, at)
        sizes = np.maximum(np.outer(level, 1 + MARGINS), self._smallest)
        return np.minimum(sizes, max(asked, self.most, self._smallest)) if asked else sizes

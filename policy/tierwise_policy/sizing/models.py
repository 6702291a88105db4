"""What past runs say about the next one: a few simple models, side by side. The learner chooses among them."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MODELS = (
    "the largest",
    "95th percentile",
    "line over input size",
    "line over input size above every run",
    "largest of the 5 nearest inputs",
)
"""What each row of `levels` is called, in that order; `the largest` is what is trusted first."""
_NEAREST = 5
_FEWEST = 3
"""Runs that a line needs: through two points every line is perfect."""


def levels(inputs: Floats, values: Floats, at: float) -> Floats:
    """What each of MODELS says about a job with an input of `at` bytes (0: not known), given past runs' inputs and
    values (same length, at least one). Nothing below the smallest value seen.

    Without an input, or where the inputs never varied, the models that need one say the largest.
    """
    most = values.max()
    answer = np.full(len(MODELS), most)
    answer[1] = np.sort(values)[math.ceil(0.95 * len(values)) - 1]
    spread = inputs - inputs.mean()
    variance = spread @ spread
    if at <= 0 or len(values) < _FEWEST or variance <= 0:
        return answer
    slope = spread @ (values - values.mean()) / variance
    line = values.mean() + slope * (at - inputs.mean())
    misses = values - values.mean() - slope * spread
    answer[2] = line
    answer[3] = line + misses.max()
    answer[4] = values[np.argsort(np.abs(inputs - at), kind="stable")[:_NEAREST]].max()
    return np.asarray(np.maximum(answer, values.min()))

"""What a wrong size costs: the rules by which sizes are judged, and from which margins are learned."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def wasted(allocations: Floats, need: float) -> Floats:
    """What a job that needs `need` wastes for each first allocation (all > 0), in the same unit and per unit of time.

    An attempt with less than the need is lost as a whole, and is tried again with twice as much until it fits; what
    the last attempt has too much is wasted too.
    """
    doublings = np.maximum(np.ceil(np.log2(need / allocations)), 0)
    return np.asarray(allocations * (2 ** (doublings + 1) - 1) - need)

"""Weights for the kernel's weighted interleave (since Linux 6.9), from bandwidths."""

from collections.abc import Sequence

LARGEST_WEIGHT = 255
CLOSE = 0.01
"""Shares within a hundredth of the bandwidths' are good enough, as a plan promises bytes within five: small weights
keep the runs of pages on one node short, and a run of huge pages is 512 times as long."""


def weights(bandwidths: Sequence[int]) -> tuple[int, ...]:
    """The smallest weights (1 to 255) whose shares are close to those of `bandwidths` (bytes per second, each > 0)."""
    total, fastest = sum(bandwidths), max(bandwidths)
    best: tuple[float, tuple[int, ...]] = (float("inf"), (1,) * len(bandwidths))
    for largest in range(1, LARGEST_WEIGHT + 1):
        tried = tuple(max(1, round(bandwidth * largest / fastest)) for bandwidth in bandwidths)
        error = max(abs(w / sum(tried) - b / total) for w, b in zip(tried, bandwidths, strict=True))
        best = min(best, (error, tried))
        if error <= CLOSE:
            return tried
    return best[1]

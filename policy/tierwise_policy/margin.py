"""How much of a tier is kept free, so that the kernel need not reclaim (the staging buffers of chapter 8).

The margin follows the use of the tier: what jobs took of it lately per second, for as long as our moves need to react.
"""

REACTION = 2.0
"""Seconds from a shortage to the moves that end it: one beat to see it, one to move."""
MOST = 0.05
"""The part of a tier that its margin may grow to under use; twice that under pressure."""


def margin(capacity: int, share: float, watermarks: int, taken: float, pressed: bool) -> int:
    """Bytes to keep free on a tier of `capacity` bytes.

    `share`: the configured part of it; `watermarks`: bytes between the kernel's low and high ones, within which it
    reclaims; `taken`: bytes per second that the tier lost lately; `pressed`: tasks wait for memory now.
    """
    least = max(int(capacity * share), watermarks)
    wanted = max(least, min(int(taken * REACTION), int(capacity * MOST)))
    return min(2 * wanted if pressed else wanted, capacity)

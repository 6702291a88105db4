"""One line of advice after a job's end: what its script should ask for next time, ready to be pasted into it."""

from collections.abc import Sequence

from tierwise.messages import Attempt
from tierwise.units import MIB, mib_ceil

MARGIN = 1.2
"""What is left above the most that a job was seen to hold: the next input may be a little larger."""
WORTH_IT = 0.7
"""Less is only advised where at least 30 % of what was asked for is given back."""
_COARSE_MIB = 64
_TIME_MARGIN = 1.5
_RETRIES = 2


def advice(attempts: Sequence[Attempt], *, memory: int, peak: int, seconds: float, time_limit: int) -> tuple[str, str]:
    """A line for the script, and why; both empty where it should stay as it is.

    `memory` is what the last run asked for in bytes per node, `peak` the most that it held on any node (page cache
    included), `seconds` its time, `time_limit` what that was limited to; 0 where not known.
    """
    last = attempts[-1] if attempts else None
    first = attempts[0] if attempts else None
    options: list[str] = []
    reasons: list[str] = []
    if first and first.cause == "memory" and last and last.cause == "memory":
        options.append(f"--mem={_rounded(memory * 2)}M --tier-retry={_RETRIES}")
        reasons.append("it ran out of memory; --tier-retry lets it try again with more by itself")
    elif first and first.cause == "memory":
        options.append(f"--mem={_rounded(max(peak * MARGIN, first.memory + MIB))}M")
        reasons.append(f"{mib_ceil(first.memory)} MiB were too little, with {mib_ceil(memory)} MiB it ended well")
    elif memory and 0 < peak * MARGIN < memory * WORTH_IT:
        options.append(f"--mem={_rounded(peak * MARGIN)}M")
        reasons.append(f"it held {mib_ceil(peak)} MiB of {mib_ceil(memory)} MiB at most")
    if last and last.cause == "time":
        options.append(f"--time={-(-time_limit * 2 // 60)}")
        reasons.append("it ran out of time")
    elif any(one.cause == "time" for one in attempts):
        options.append(f"--time={-(-int(seconds * _TIME_MARGIN) // 60)}")
        reasons.append("its first time limit was too short")
    elif time_limit and 0 < seconds * _TIME_MARGIN < time_limit * WORTH_IT:
        options.append(f"--time={max(-(-int(seconds * _TIME_MARGIN) // 60), 1)}")
        reasons.append("shorter jobs start sooner")
    if not options:
        return "", ""
    return f"#SBATCH {' '.join(options)}", "; ".join(reasons)


def _rounded(size: float) -> int:
    """MiB, rounded up to what people write."""
    return -(-mib_ceil(int(size)) // _COARSE_MIB) * _COARSE_MIB

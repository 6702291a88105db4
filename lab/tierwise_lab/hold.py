"""A load: holds so many MiB of anonymous memory and works on them until it is told to end (SIGTERM).

`python -m tierwise_lab.hold 300 random` looks values up at random places, `stream` reads all of it over and over,
`keep` reads a little now and then: what latency-sensitive, bandwidth-hungry and capacity-bound programs do.
Needs nothing but the standard library, so that it starts as fast as a job's own shell.
"""

import itertools
import random
import sys
import time

PAGE = 4096
MIB = 1 << 20


def fill(mib: int) -> bytearray:
    """`mib` MiB, every page of them written."""
    data = bytearray(mib * MIB)
    for start in range(0, len(data), MIB):
        data[start : start + MIB : PAGE] = b"\x01" * (MIB // PAGE)
    return data


def work(data: bytearray, manner: str) -> None:
    """Use `data` in this manner for ever."""
    source = random.Random(1)  # the same places in every run
    for round_number in itertools.count():
        if manner == "random":
            sum(data[source.randrange(len(data))] for _ in range(10_000))
        elif manner == "stream":
            start = round_number * 16 * MIB % len(data)
            data.count(2, start, start + 16 * MIB)
        else:
            sum(data[: 1 * MIB : PAGE])
        time.sleep(0.05)


def main() -> None:
    """Arguments: MiB, manner."""
    mib, manner = int(sys.argv[1]), sys.argv[2]
    work(fill(mib), manner)


if __name__ == "__main__":
    main()

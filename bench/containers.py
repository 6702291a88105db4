"""Starts of one SIF image with and without tierwise-exec, in a virtual node, beside each other on the same disk.

An emulated CPU is slower than a real one, a disk isn't: beside it 100 MB/s would be as fast as several GB/s. So the
limit is divided by how much slower the node is than this machine at the same work (gzip), measured before; what is
compared are times in one run. Between two starts from the limited source the image is dropped from the page cache, for
both sides: on a real node other jobs' memory does that. From the unlimited one both sides find all in memory.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import Figure, publish

from tierwise_lab.guest import Guest

STARTS, PLAIN = 50, 5
"""Starts from the limited source: ours, and plain ones, each of which takes as long as its reading does."""
PAIRS = 10
"""Of a plain start and one of ours, in turn, from the unlimited source."""
SOURCE_BYTES_PER_S = 100e6
DISK_MIB = 160
INSIDE = "/opt/tierwise/bench/containers_inside.py"
WORK = """
import gzip, time
data = bytes(range(256)) * 8192
begun = time.perf_counter()
gzip.compress(data, 6)
print(time.perf_counter() - begun)
"""


def slower() -> float:
    """How many times slower a virtual node does the same work."""
    here = [_seconds(subprocess.check_output(["python3", "-I", "-c", WORK], text=True)) for _ in range(3)]
    with Guest() as guest:
        there = [_seconds(guest.run(["python3", "-I", "-c", WORK], check=True).stdout) for _ in range(3)]
    return min(there) / min(here)


def _seconds(text: str) -> float:
    return float(text.strip())


def measure(factor: float) -> dict[str, Any]:
    """What the starts in one virtual node say: bench/containers_inside.py."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "source.img"
        with disk.open("wb") as file:
            file.truncate(DISK_MIB << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", disk], check=True)
        drive = f"file={disk},if=virtio,format=raw,cache=unsafe,snapshot=on"
        limit = f"throttling.bps-read={int(SOURCE_BYTES_PER_S / factor)}"
        with Guest(qemu=["-drive", drive, "-drive", f"{drive},{limit}"]) as guest:
            command = ["python3", INSIDE, str(STARTS), str(PLAIN), str(PAIRS)]
            done = guest.run(command, check=True, timeout=3000)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    begun = time.monotonic()
    factor = slower()
    found = measure(factor)
    plain, ours = statistics.median(found["plain_limited"]), statistics.median(found["ours_limited"][1:])
    free_plain, free_ours = statistics.median(found["plain_free"]), statistics.median(found["ours_free"])
    limited, cached = "limited source", "all in memory"
    read, first = found["read"] / found["size"], found["ours_limited"][0] / plain
    figures = [
        Figure("warm_start_speedup_limited", f"{limited}: a plain start by a warm one", plain / ours, at_least=2.0),
        Figure(
            "warm_start_ratio_unlimited", f"{cached}: a warm start by a plain one", free_ours / free_plain, None, 1.05
        ),
        Figure("source_bytes_ratio", "bytes read from the source by the image's size", read, None, 1.05),
        Figure("first_start_ratio_limited", f"{limited}: the first start by a plain one", first),
        Figure("plain_start_seconds_limited", f"{limited}: a plain start, node seconds", plain),
        Figure("warm_start_seconds_limited", f"{limited}: a warm start, node seconds", ours),
        Figure("plain_start_seconds_unlimited", f"{cached}: a plain start, node seconds", free_plain),
        Figure("warm_start_seconds_unlimited", f"{cached}: a warm start, node seconds", free_ours),
        Figure("image_mib", "the image, MiB", found["size"] / 2**20),
        Figure("node_slower", "how many times slower the node is than this machine", factor),
    ]
    publish("containers", figures, STARTS)
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

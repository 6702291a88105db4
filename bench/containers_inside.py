"""The part of bench/containers.py that runs in the virtual node: `containers_inside.py STARTS PLAIN PAIRS`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

LIBRARIES_MIB = 96
"""What a start of the program inside reads of its image: a small one of Python with its numeric libraries."""
UNCOMPRESSED = "-noD -noI -noF -noX"
"""They can't be compressed, and the emulated node would take minutes to find out."""
FREE, LIMITED = Path("/mnt/free"), Path("/mnt/limited")
DEVICES = {FREE: "vdc", LIMITED: "vdd"}
PLAIN, OURS = ["apptainer"], ["tierwise-exec", "apptainer"]
LOAD = ["/bin/cat", "/lib/libraries"]


def build(target: Path) -> None:
    """A SIF image with a shell and incompressible libraries."""
    root = Path("/tmp/root")
    for folder in ("bin", "lib", "dev", "etc", "proc", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    busybox = Path(subprocess.check_output(["sh", "-c", "command -v busybox"], text=True).strip())
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for name in ("sh", "cat"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "lib/libraries").write_bytes(os.urandom(LIBRARIES_MIB << 20))
    subprocess.run(["apptainer", "-q", "build", "--mksquashfs-args", UNCOMPRESSED, target, root], check=True)


def start(runtime: list[str], image: Path, *, cold: bool) -> float:
    """Seconds of one start to the end of its loading."""
    if cold:
        forget(image)
    begun = time.monotonic()
    subprocess.run([*runtime, "exec", str(image), *LOAD], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def forget(image: Path) -> None:
    """Drop the image, and nothing else, from the page cache (posix_fadvise(2))."""
    opened = os.open(image, os.O_RDONLY)
    os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(opened)


def read_from(place: Path) -> int:
    """Bytes that were read from its disk since the node booted (Documentation/block/stat.rst: sectors of 512)."""
    return int(Path(f"/sys/block/{DEVICES[place]}/stat").read_text().split()[2]) * 512


def main() -> None:
    starts, plain_starts, pairs_of_starts = map(int, sys.argv[1:])
    for place, device in DEVICES.items():
        place.mkdir()
        subprocess.run(["mount", f"/dev/{device}", place], check=True)
    build(FREE / "image.sif")
    subprocess.run(["cp", FREE / "image.sif", LIMITED], check=True)
    os.sync()
    size = (LIMITED / "image.sif").stat().st_size
    config = Path("/tmp/tierwise.toml")
    config.write_text('[agent]\nservice = "/nowhere.sock"\n')
    agent = subprocess.Popen(["tierwise-agent", "--config", config, "--node", "node1"], stderr=subprocess.DEVNULL)
    while not Path("/run/tierwise/agent-node1.sock").is_socket():
        time.sleep(0.2)
    os.environ["TIERWISE_STAGE_WAIT"] = "600"
    found: dict[str, object] = {"size": size}
    start(PLAIN, FREE / "image.sif", cold=False)
    found["plain_limited"] = [start(PLAIN, LIMITED / "image.sif", cold=True) for _ in range(plain_starts)]
    forget(LIMITED / "image.sif")
    before = read_from(LIMITED)
    found["ours_limited"] = [start(OURS, LIMITED / "image.sif", cold=True) for _ in range(starts)]
    found["read"] = read_from(LIMITED) - before
    start(OURS, FREE / "image.sif", cold=False)
    start(PLAIN, FREE / "image.sif", cold=False)
    pairs = [
        (start(PLAIN, FREE / "image.sif", cold=False), start(OURS, FREE / "image.sif", cold=False))
        for _ in range(pairs_of_starts)
    ]
    found["plain_free"], found["ours_free"] = ([pair[side] for pair in pairs] for side in (0, 1))
    agent.terminate()
    agent.wait()
    print(json.dumps(found))


if __name__ == "__main__":
    main()

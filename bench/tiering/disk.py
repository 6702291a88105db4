"""The disks that the virtual node gets besides its own: one with the programs' packages and input, one to swap to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tiering import data
from tierwise_lab import cache
from tierwise_lab.image import image
from tierwise_lab.layer import PYTHON, compile_for_guest
from tierwise_lab.options import REPOSITORY
from tierwise_lab.programs import as_root, follow, need
from tierwise_lab.progress import Say, step

PACKAGES = ("duckdb>=1.1,<3", "igraph>=0.11,<2", "numpy>=2,<3")
CLOCK = REPOSITORY / "csrc/tierclock"
BUILT = REPOSITORY / "build/tierclock"
PLUGIN = BUILT / "libtierclock.so"
ON_NODE = ("libtiermark.so", "flusher", "probe")
SWAP_MIB = 1024
TIMEOUT = 600.0


def build_clock() -> None:
    """Compile the plugin and what the guest needs of it."""
    subprocess.run(["make", "-s", "-C", CLOCK], check=True)


def disks() -> tuple[Path, Path]:
    """The images (programs and data, swap), built now if their inputs changed."""
    build_clock()
    clock = [*CLOCK.glob("*.[ch]"), CLOCK / "Makefile"]  # not what is built of them: that names its checkout
    files = [Path(data.__file__), Path(__file__), *clock]
    key = cache.hash_of([*PACKAGES, PYTHON, str(SWAP_MIB)], files, REPOSITORY)
    folder = cache.entry("bench", key, _build)
    return folder / "programs.img", folder / "swap.img"


def _build(place: Path) -> None:
    need("mke2fs")
    with step("building the disk with programs and data") as say:
        tree = place / "tree"
        pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "install", "--target"]
        wheels = ["--python-version", PYTHON, "--only-binary=:all:", *PACKAGES]
        follow([*pip, str(tree / "site"), *wheels], say, timeout=TIMEOUT)
        compile_for_guest(image(), tree / "site", say)
        (tree / "data").mkdir()
        say("making the data")
        data.make(tree / "data")
        for name in ON_NODE:
            (tree / name).write_bytes((BUILT / name).read_bytes())
            (tree / name).chmod(0o755)
        _image(tree, place / "programs.img", say)
        with (place / "swap.img").open("wb") as swap:
            swap.truncate(SWAP_MIB << 20)
        follow(["mkswap", "-q", str(place / "swap.img")], say, timeout=TIMEOUT)


def _image(tree: Path, image: Path, say: Say) -> None:
    size = sum(path.lstat().st_size // 4096 * 4 + 8 for path in tree.rglob("*")) + (16 << 10)
    follow(as_root(["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(image), f"{size}k"]), say, timeout=TIMEOUT)
    follow(["rm", "-r", str(tree)], say, timeout=TIMEOUT)

"""The guest's base image: a Debian release with Slurm, a kernel and Apptainer. Nothing of this project is in it.

The folder `lab/image` says what goes in: package lists, hooks that run while it is built. It is built once and kept
(`cache`); what changes with the project's sources is the layer on top of it.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from tierwise_lab import cache
from tierwise_lab.daemons import LabError
from tierwise_lab.options import REPOSITORY
from tierwise_lab.programs import as_root, follow, need
from tierwise_lab.progress import Say, step

RECIPES = REPOSITORY / "lab" / "image"
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
BUILD_TIMEOUT = 900.0
IMAGE_SIZE = "4G"  # sparse: what a guest may write, too
UNWANTED = ("doc", "man", "info", "locale", "lintian")


@dataclass(frozen=True)
class Image:
    """A built base image: what QEMU boots, and what is needed of it on the host."""

    folder: Path

    @property
    def disk(self) -> Path:
        """ext4, the root file system. Opened with snapshot=on: guests never write to it."""
        return self.folder / "root.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "boot" / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "boot" / "lab-initrd"

    @property
    def headers(self) -> Path:
        """An include directory with the guest's slurm/*.h."""
        return self.folder / "include"

    @property
    def python(self) -> Path:
        """A tree with the guest's Python, its library and its dynamic linker."""
        return self.folder / "python"


def image(suite: str = SUITE) -> Image:
    """The base image of a Debian suite, built now if its inputs changed or it never was."""
    return Image(cache.entry("image", _key(suite), lambda place: _build_image(suite, place)))


def chroot_root(suite: str) -> Path:
    """A directory tree of a suite with Slurm's daemons and headers, for chroot on the host. Read it, don't write."""
    return cache.entry("chroot", _key(suite), lambda place: _build_tree(suite, place)) / "root"


def packages(suite: str) -> list[str]:
    """The Debian packages of a suite's image."""
    listed = RECIPES / f"packages-{suite}.txt"
    if not listed.exists():
        known = ", ".join(sorted(path.stem.removeprefix("packages-") for path in RECIPES.glob("packages-*.txt")))
        raise LabError(f"no package list {listed}: the suites known are {known}")
    return [line for line in listed.read_text().splitlines() if line and not line.startswith("#")]


def _key(suite: str) -> str:
    return cache.hash_of([suite, *packages(suite)], [*RECIPES.glob("*.sh"), Path(__file__)], REPOSITORY)


def _build_image(suite: str, place: Path) -> None:
    need("mmdebstrap", "mke2fs", *(["fakeroot"] if as_root([]) else []))
    with step(f"building the guest's base image ({suite})") as say:
        tar = place / "root.tar"
        _bootstrap(suite, tar, ["headers.sh", "apptainer.sh", "initrd.sh"], say)
        _unpack(tar, place, say, "./boot", "./usr/include/slurm")
        (place / "include").mkdir()
        (place / "usr/include/slurm").rename(place / "include/slurm")
        next((place / "boot").glob("vmlinuz-*")).rename(place / "boot/vmlinuz")
        (place / "python").mkdir()
        _unpack(
            tar,
            place / "python",
            say,
            "--wildcards",
            "./usr/bin/python3*",
            "./usr/lib/python3*",
            "./usr/lib64",
            "./usr/lib/x86_64-linux-gnu/ld-linux*",
            "./usr/lib/x86_64-linux-gnu/lib[cmz].so*",
            "./usr/lib/x86_64-linux-gnu/libexpat.so*",
        )
        say("writing the file system")
        follow(
            as_root(
                [
                    "sh",
                    "-euc",
                    'mkdir "$1/root"; tar -xf "$1/root.tar" -C "$1/root"; mke2fs -q -t ext4'
                    ' -L root -d "$1/root" "$1/root.img" "$2"; rm -rf "$1/root"',
                    "sh",
                    str(place),
                    IMAGE_SIZE,
                ]
            ),
            say,
            timeout=BUILD_TIMEOUT,
        )
        tar.unlink()
        shutil.rmtree(place / "usr")


def _build_tree(suite: str, place: Path) -> None:
    need("mmdebstrap")
    with step(f"building the directory tree of {suite}") as say:
        tar = place / "root.tar"
        _bootstrap(suite, tar, ["headers.sh"], say)
        (place / "root").mkdir(mode=0o755)
        _unpack(tar, place / "root", say)
        tar.unlink()


def _bootstrap(suite: str, tar: Path, hooks: list[str], say: Say) -> None:
    release, _, pocket = suite.partition("-")  # trixie-backports: trixie, and packages named NAME/trixie-backports
    follow(
        [
            "mmdebstrap",
            "--variant=minbase",
            "--format=tar",
            '--aptopt=Acquire::Check-Valid-Until "false"',  # registries that lag behind still serve
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNWANTED),
            f"--include={','.join(packages(suite))}",
            # the layer's site-packages, on the path of every Python in the guest
            '--customize-hook=mkdir -p "$1/opt/tierwise"; [ ! -d "$1/usr/lib/python3" ] ||'
            ' printf "/opt/tierwise/site\\n/opt/tierwise/lab\\n" > "$1/usr/lib/python3/dist-packages/tierwise.pth"',
            *(f'--customize-hook=sh {shlex.quote(str(RECIPES / hook))} "$1"' for hook in hooks),
            release,
            str(tar),
            *([f"deb {MIRROR} {name} main" for name in (release, suite)] if pocket else []),
        ],
        say,
        timeout=BUILD_TIMEOUT,
        env={"INITRD": "No"},  # Debian's own initrd: slow to make, slow to boot
    )


def _unpack(tar: Path, into: Path, say: Say, *members: str) -> None:
    follow(as_root(["tar", "-xf", str(tar), "-C", str(into), *members]), say, timeout=BUILD_TIMEOUT)

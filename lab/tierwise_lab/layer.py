"""The layer on the guest's base image: this checkout, installed. Rebuilt in seconds when a source changes.

In the guest it is /opt/tierwise: `site` (the project's wheel and what it needs, for the guest's Python), `bin` (its
commands), `build/spank` (the plugin, compiled against the guest's Slurm), and the checkout's own folders that aren't
in the wheel, at the places they have in the repository.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement

from tierwise_lab import cache
from tierwise_lab.image import Image
from tierwise_lab.options import REPOSITORY
from tierwise_lab.programs import as_root, follow, need
from tierwise_lab.progress import Say, step

PYTHON = "3.13"  # trixie's
IN_GUEST = Path("/opt/tierwise")
WHEEL_INPUTS = (
    *("setup.py", "pyproject.toml", "README.md", "LICENSE"),
    *("library", "policy", "decision", "nodeagent", "slurm_plugin", "cli", "csrc"),
)
AS_THEY_ARE = ("lab", "tests", "slurm_plugin", "etc", "bench", "docs", "pyproject.toml")
NOT_SOURCES = {"__pycache__", "build", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
EXTRAS = ("decision", "agent", "cli")
TEST_TOOLS = ("pytest>=8.2,<10", "pytest-rerunfailures>=15,<17", "hypothesis>=6.100,<7", "rich>=13.7,<16")
TIMEOUT = 600.0
SPARE = 8 << 20  # bytes of the file system beside its files


def layer(base: Image) -> Path:
    """The layer's disk image for this checkout, built now if a source changed. LabError says which step failed."""
    sources = sorted({path for top in (*WHEEL_INPUTS, *AS_THEY_ARE) for path in _files(REPOSITORY / top)})
    key = cache.hash_of([base.folder.name], [*sources], REPOSITORY)
    return cache.entry("layer", key, lambda place: _build(base, sources, place)) / "layer.img"


def _files(top: Path) -> Iterator[Path]:
    """The sources below `top`, or `top` itself; none if it isn't there (yet)."""
    if top.is_file():
        yield top
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in NOT_SOURCES and not name.endswith(".egg-info")]
        yield from (Path(folder, name) for name in names if not name.endswith((".so", ".o", ".pyc")))


def _build(base: Image, sources: list[Path], place: Path) -> None:
    need("mke2fs", "make", "gcc", *(["fakeroot"] if as_root([]) else []))
    with step("building the layer with this checkout") as say:
        copy, tree, wheels, project = (place / name for name in ("sources", "tree", "wheels", "project/site"))
        for path in sources:  # of a copy: setuptools leaves things behind, and would pick up what others left
            target = copy / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        _pip(say, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(copy))
        wheel = next(wheels.glob("*.whl"))
        _pip(say, "install", "--no-deps", *_for_guest(project), str(wheel))
        compile_for_guest(base, project, say)
        shutil.copytree(_site(base, requirements(project), say), tree / "site", copy_function=_link)
        shutil.copytree(project, tree / "site", dirs_exist_ok=True)
        _write_commands(tree)
        _build_plugin(base, copy, tree, say)
        for name in AS_THEY_ARE:
            if (copy / name).exists():
                shutil.move(copy / name, tree / name)
        compile_for_guest(base, tree / "lab", say)
        _write_image(tree, place / "layer.img", say)
        for done in (copy, tree, wheels, project.parent):
            shutil.rmtree(done)


def requirements(installed: Path) -> list[str]:
    """What the project installed at this folder needs at run time with the extras of every role, and test tools."""
    metadata = next(installed.glob("tierwise-*.dist-info")) / "METADATA"
    listed = HeaderParser().parsestr(metadata.read_text()).get_all("Requires-Dist") or []
    needed = set(TEST_TOOLS)
    for text in listed:
        requirement = Requirement(text)
        environments = ({"extra": extra, "python_version": PYTHON} for extra in ("", *EXTRAS))
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            requirement.marker = None
            needed.add(str(requirement))
    return sorted(needed)


def _site(base: Image, needed: list[str], say: Say) -> Path:
    """The packages that the project needs, for the guest's Python, compiled; kept apart as they rarely change."""

    def make(place: Path) -> None:
        _pip(say, "install", *_for_guest(place / "site"), *needed)
        compile_for_guest(base, place / "site", say)

    return cache.entry("site", cache.hash_of([base.folder.name, *_for_guest(Path()), *needed]), make) / "site"


def _for_guest(target: Path) -> list[str]:
    return ["--target", str(target), "--python-version", PYTHON, "--only-binary=:all:"]


def _pip(say: Say, *arguments: str) -> None:
    follow([sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments], say, timeout=TIMEOUT)


def compile_for_guest(base: Image, folder: Path, say: Say) -> None:
    """Write the .pyc files with the guest's own Python, run here: under TCG that would take minutes, on every boot.

    `unchecked-hash`: the guest trusts them without a look at the sources.
    """
    libraries = base.python / "usr/lib/x86_64-linux-gnu"
    follow(
        [
            *(str(base.python / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(libraries)),
            *(str(base.python / f"usr/bin/python{PYTHON}"), "-I", "-S", "-m", "compileall", "-q"),
            *(
                "--invalidation-mode",
                "unchecked-hash",
                "-s",
                str(folder),
                "-p",
                str(IN_GUEST / folder.name),
                str(folder),
            ),
        ],
        say,
        timeout=TIMEOUT,
    )


def _write_commands(tree: Path) -> None:
    """The commands in `bin`: pip would have given them the host's Python. tierwise-exec is a program in C."""
    (tree / "bin").mkdir()
    shutil.move(tree / "site/bin/tierwise-exec", tree / "bin")
    shutil.rmtree(tree / "site/bin")
    entry_points = next((tree / "site").glob("tierwise-*.dist-info")) / "entry_points.txt"
    for line in entry_points.read_text().splitlines():
        name, _, target = (part.strip() for part in line.partition("="))
        if target:
            module, _, function = target.partition(":")
            script = tree / "bin" / name
            script.write_text(
                f"#!/usr/bin/python3\nimport sys\nsys.path.insert(0, '{IN_GUEST}/site')\n"
                f"from {module} import {function}\nsys.exit({function}())\n"
            )
            script.chmod(0o755)


def _build_plugin(base: Image, sources: Path, tree: Path, say: Say) -> None:
    follow(
        ["make", "-C", str(sources / "csrc/spank"), f"SLURM_INCLUDE={base.headers}", f"BUILD={tree / 'build/spank'}"],
        say,
        timeout=TIMEOUT,
    )


def _write_image(tree: Path, image: Path, say: Say) -> None:
    size = sum(path.lstat().st_size // 4096 * 4096 + 8192 for path in tree.rglob("*"))
    follow(
        as_root(
            ["mke2fs", "-q", "-t", "ext4", "-L", "tierwise", "-d", str(tree), str(image), f"{(size + SPARE) >> 10}k"]
        ),
        say,
        timeout=TIMEOUT,
    )


def _link(source: str, target: str) -> None:
    os.link(source, target)

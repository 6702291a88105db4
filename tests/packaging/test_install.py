"""sdist, wheel and editable install: each works in a fresh virtual environment, with every room in it."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("tierwise", "tierwise_policy", "tierwise_decision", "tierwise_node", "tierwise_cli")
LOOK = f"""
import importlib, importlib.metadata, shutil
for room in {ROOMS}:
    importlib.import_module(room)
from tierwise_node import _pages
from tierwise.memory import allocate
assert len(allocate(100, "cap").view) == 100, "the user library"
from tierwise_cli.main import main
from importlib.resources import files
assert (files("tierwise_decision") / "database/migrations/env.py").is_file(), "migrations"
for room in {ROOMS}:
    assert (files(room) / "py.typed").is_file(), room
print(importlib.metadata.version("tierwise"))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: builds leave things behind, and would pick up what others left."""
    copy = tmp_path_factory.mktemp("sources") / "tierwise"
    subprocess.run([REPOSITORY / "packaging/sources", copy], check=True)
    return copy


@pytest.fixture(scope="module")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "-o", out, sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def install(where: Path, *what: str) -> Path:
    """A fresh virtual environment with `what` in it, put there by our own pip and not compiled, which takes half as
    long; its bin."""
    venv.create(where)
    pip = [sys.executable, "-m", "pip", "--python", where, "install", "-q", "--no-compile", *what]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return where / "bin"


def look(programs: Path, away: Path) -> None:
    """Import every room and run tierctl, from a folder in which no sources lie."""
    done = subprocess.run([programs / "python", "-c", LOOK], cwd=away, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    subprocess.run([programs / "tierwise-exec", "--help"], cwd=away, capture_output=True, check=True)
    said = subprocess.run([programs / "tierctl", "--version"], cwd=away, capture_output=True, text=True, check=True)
    assert said.stdout == f"tierctl, version {done.stdout}"


def test_wheel(built: Path, tmp_path: Path) -> None:
    wheel = next(built.glob("*.whl"))
    assert "-cp311-abi3-" in wheel.name
    look(install(tmp_path / "venv", f"{wheel}[decision,agent,cli]"), tmp_path)


def test_sdist(built: Path, tmp_path: Path) -> None:
    sdist = next(built.glob("*.tar.gz"))
    look(install(tmp_path / "venv", f"{sdist}[decision,agent,cli]"), tmp_path)


def test_editable(sources: Path, tmp_path: Path) -> None:
    look(install(tmp_path / "venv", "-e", f"{sources}[decision,agent,cli]"), tmp_path)

"""The rpm is built, and holds what it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WITH_PIP = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""Debian's own Python may come without pip."""
LIBRARY = subprocess.check_output(["rpm", "--eval", "%{_libdir}/libtierwise.so.1"], text=True).strip()
FILES = (
    "/etc/tierwise/tierwise.toml",
    "/usr/bin/tierctl",
    "/usr/bin/tierwise-agent",
    "/usr/bin/tierwise-decision",
    "/usr/bin/tierwise-exec",
    "/usr/include/tierwise.h",
    LIBRARY,
    "/usr/lib/systemd/system/tierwise-agent@.service",
    "/usr/lib/tierwise/prolog",
    "/usr/lib/tierwise/epilog",
    "/usr/lib/tierwise/python3.11/tierwise/config.py",
    "/usr/lib/tierwise/python3.11/tierwise_node/_pages.abi3.so",
    "/usr/lib/tierwise/slurm-22.05/tierwise.so",
    "/usr/share/tierwise/tierwise.lua",
)


def ask(package: Path, question: str) -> list[str]:
    """What rpm says of a package, as lines."""
    done = subprocess.run(["rpm", "-qp", question, package], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rpm for one Python and the host's Slurm headers: the others take their time and show nothing new."""
    out = tmp_path_factory.mktemp("rpm")
    options = ["--define", "tierwise_pythons 3.11", "--define", "slurm_includes /usr/include"]
    command = [REPOSITORY / "packaging/rpm", out, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=WITH_PIP)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_it_holds_every_file(package: Path) -> None:
    files = ask(package, "--list")
    assert [path for path in FILES if path not in files] == []
    assert not [path for path in files if path.endswith(".pyc")]


def test_the_configuration_is_the_admins(package: Path) -> None:
    assert ask(package, "--configfiles") == ["/etc/tierwise/tierwise.toml"]


def test_libraries_that_it_brings_along_are_not_asked_for(package: Path) -> None:
    of_every_system = ("rpmlib(", "rtld(", "libc.so.6(")  # the last two: of tierwise-exec
    needs = [line for line in ask(package, "--requires") if not line.startswith(of_every_system)]
    assert sorted(set(needs)) == ["/bin/sh", "/usr/bin/python3", "config(tierwise) = 0.1.0-1", "libmunge.so.2()(64bit)"]

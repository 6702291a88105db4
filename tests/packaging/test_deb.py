"""The Debian package in a minimal Debian of its own: install, upgrade, rollback, remove, purge."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WITH_PIP = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""Debian's own Python may come without pip."""
SUITES = os.environ.get("TIERWISE_DEB_SUITES", "bookworm").split()
"""Where the package is tried; `bookworm trixie` takes a minute more."""
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
RELEASES = ("22.05", "24.11", "26.05")
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
PROGRAMS = ("tierctl", "tierwise-decision", "tierwise-agent")
CONFIG = "etc/tierwise/tierwise.toml"


@dataclass
class Debian:
    """A minimal Debian in a folder."""

    root: Path

    def run(self, *command: str) -> str:
        """Run a command inside; its output."""
        done = subprocess.run(
            ["chroot", self.root, *command],
            env=CLEAN,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def answers(self, *command: str) -> bool:
        """Whether a command ends well inside."""
        done = subprocess.run(["chroot", self.root, *command], env=CLEAN, capture_output=True, check=False)
        return done.returncode == 0

    def install(self, package: Path) -> None:
        """dpkg -i."""
        shutil.copy(package, self.root / "package.deb")
        self.run("dpkg", "-i", "/package.deb")

    def has(self, path: str) -> bool:
        """Whether something lies at `path`."""
        return (self.root / path).exists()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built as `make deb` does, for the Pythons of these suites alone."""
    pythons = " ".join(PYTHONS[suite] for suite in SUITES)
    out = tmp_path_factory.mktemp("deb")
    done = subprocess.run(
        [REPOSITORY / "packaging/deb", out],
        capture_output=True,
        text=True,
        check=False,
        env=WITH_PIP | {"PYTHONS": pythons},
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package with a higher version."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("Version: 0.1.0-1", "Version: 0.1.0-2"))
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, tree.with_suffix(".deb")], check=True, capture_output=True)
    return tree.with_suffix(".deb")


@pytest.fixture(scope="module", params=SUITES)
def debian(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """A minimal Debian with what the package depends on."""
    root = tmp_path_factory.mktemp("debian") / request.param
    late = '--aptopt=Acquire::Check-Valid-Until "false"'
    include = "--include=python3,libmunge2"
    command = ["mmdebstrap", "-q", "--mode=root", "--variant=minbase", late, include, request.param, root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    root.chmod(0o755)
    yield Debian(root)
    shutil.rmtree(root)


def answer_of_the_service(debian: Debian) -> str:
    """What `tierctl health` says of a decision service that was started from the package."""
    (debian.root / "run/tierwise").mkdir(exist_ok=True)
    (debian.root / "var/lib/tierwise/decision").mkdir(parents=True)
    (debian.root / "root/tierwise.toml").write_text('[service]\nlisten = ""\n')
    command = ["chroot", debian.root, "/usr/bin/tierwise-decision", "--config", "/root/tierwise.toml"]
    with subprocess.Popen(command, env=CLEAN) as service:
        try:
            deadline = time.monotonic() + 60
            while not debian.has("run/tierwise/decision.sock") or not debian.answers("tierctl", "health"):
                assert service.poll() is None, "the service ended"
                assert time.monotonic() < deadline, "the service does not answer"
                time.sleep(0.1)
            return debian.run("tierctl", "health")
        finally:
            service.terminate()


def test_from_install_to_purge(debian: Debian, package: Path, newer: Path) -> None:
    """One story: each step stands on the one before."""
    debian.install(package)
    version = debian.run("dpkg-query", "-W", "-f", "${Version}", "tierwise")
    assert version == "0.1.0-1"
    for program in PROGRAMS:
        debian.run(program, "--help")
    assert debian.run("tierctl", "--version") == "tierctl, version 0.1.0\n"
    for release in RELEASES:
        assert debian.has(f"usr/lib/tierwise/slurm-{release}/tierwise.so")
    for path in ("usr/lib/tierwise/prolog", "usr/share/tierwise/tierwise.lua", CONFIG):
        assert debian.has(path), path
    assert list(debian.root.glob("usr/lib/tierwise/python3.*/tierwise/__pycache__/*.pyc")), "compiled when installed"
    assert "sqlite" in answer_of_the_service(debian)
    debian.run("/usr/lib/tierwise/prolog")  # exits with 0 although nothing runs here

    config = debian.root / CONFIG
    config.write_text(config.read_text().replace("#pin_share = 0.5", "pin_share = 0.25"))
    for other in (newer, package):  # an upgrade, and back
        debian.install(other)
        assert "\npin_share = 0.25\n" in config.read_text()
        assert debian.run("tierctl", "--version") == "tierctl, version 0.1.0\n"

    debian.run("dpkg", "-r", "tierwise")
    left = [path for path in ("usr/lib/tierwise", "usr/share/tierwise", "usr/bin/tierctl") if debian.has(path)]
    assert left == []
    assert debian.has(CONFIG)
    assert debian.has("var/lib/tierwise/decision/tierwise.db")
    debian.run("dpkg", "-P", "tierwise")
    assert not debian.has("etc/tierwise")
    assert not debian.has("var/lib/tierwise")

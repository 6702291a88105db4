"""The Debian package in a minimal Debian of its own: install, upgrade, rollback, remove, purge."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
PROGRAMS = ("tierctl", "tierwise-decision", "tierwise-agent", "tierwise-exec")
CONFIG = "etc/tierwise/tierwise.toml"


@dataclass
class Debian:
    """A minimal Debian in a folder, running under its own systemd."""

    root: Path
    enter: tuple[str, ...]
    """The words before a command that is to run inside."""

    def run(self, *command: str) -> str:
        """Run a command inside; its output."""
        done = subprocess.run([*self.enter, *command], env=CLEAN, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def answers(self, *command: str) -> bool:
        """Whether a command ends well inside."""
        return subprocess.run([*self.enter, *command], env=CLEAN, capture_output=True, check=False).returncode == 0

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
    include = "--include=python3,libmunge2,systemd-sysv,dbus"
    command = ["mmdebstrap", "-q", "--mode=root", "--variant=minbase", late, include, request.param, root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    root.chmod(0o755)
    with booted(root) as inside:
        yield inside
    shutil.rmtree(root)


@contextmanager
def booted(root: Path) -> Iterator[Debian]:
    """Its systemd, in a container with a network of its own."""
    quiet = ["-q", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
    command = ["systemd-nspawn", *quiet, "-M", "tierwise-deb", "-D", root, "--boot"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes) as container:
        try:
            until(lambda: children(container.pid), "its first process", container)
            inside = Debian(root, ("nsenter", "-t", str(children(container.pid)[0]), "-a", "--"))
            until(lambda: inside.answers("systemctl", "is-active", "multi-user.target"), "its units", container)
            yield inside
        finally:
            container.terminate()


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(true: Callable[[], object], what: str, container: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for it, a minute at most."""
    deadline = time.monotonic() + 60
    while not true():
        assert container is None or container.poll() is None, "systemd-nspawn ended"
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.1)


DAEMONS = ("tierwise-decision", "tierwise-agent")


def pids(debian: Debian) -> list[str]:
    """The daemons' processes, each of which serves; "0" stands for one that doesn't run."""
    return debian.run("systemctl", "show", "-P", "MainPID", *DAEMONS).split()


def serving(debian: Debian) -> bool:
    """Whether the service and the agent answer."""
    agent = "tierctl doctor | grep -q 'node agent *used'"
    return debian.answers("tierctl", "health") and debian.answers("sh", "-c", agent)


def test_from_install_to_purge(debian: Debian, package: Path, newer: Path) -> None:
    """One story, under a real systemd: each step stands on the one before."""
    debian.run("useradd", "--system", "slurm")
    debian.install(package)
    version = debian.run("dpkg-query", "-W", "-f", "${Version}", "tierwise")
    assert version == "0.1.0-1"
    for program in PROGRAMS:
        debian.run(program, "--help")
    assert debian.run("tierctl", "--version") == "tierctl, version 0.1.0\n"
    for release in RELEASES:
        assert debian.has(f"usr/lib/tierwise/slurm-{release}/tierwise.so")
    assert debian.has("usr/lib/libtierwise.so.1")
    assert debian.has("usr/include/tierwise.h")
    for path in ("usr/lib/tierwise/prolog", "usr/share/tierwise/tierwise.lua", CONFIG):
        assert debian.has(path), path
    assert list(debian.root.glob("usr/lib/tierwise/python3.*/tierwise/__pycache__/*.pyc")), "compiled when installed"
    assert pids(debian) == ["0", "0"], "installing starts nothing"
    debian.run("/usr/lib/tierwise/prolog")  # exits with 0 although nothing runs here

    debian.run("systemctl", "enable", "--now", *DAEMONS)
    until(lambda: serving(debian), "both daemons")
    assert "sqlite" in debian.run("tierctl", "health")
    first = pids(debian)
    config = debian.root / CONFIG
    config.write_text(config.read_text().replace("#pin_share = 0.5", "pin_share = 0.25"))
    debian.run("systemctl", "reload", *DAEMONS)
    until(lambda: "configuration reloaded" in debian.run("journalctl", "-q", "-o", "cat"), "a reload")
    until(lambda: serving(debian), "both daemons after a reload")
    assert pids(debian) == first

    (debian.root / "home/input").write_text("staged\n")  # where the agent's unit does not look by itself
    copy = debian.run("tierctl", "stage", "add", "/home/input").strip()
    assert debian.run("cat", copy) == "staged\n"
    assert "tmpfs" in debian.run("findmnt", "-no", "FSTYPE", "-T", copy)

    for other in (newer, package):  # an upgrade, and back
        before = pids(debian)
        debian.install(other)
        until(lambda: serving(debian), "both daemons after an upgrade")
        assert not set(before) & {"0", *pids(debian)}, "both were started again"
        assert "\npin_share = 0.25\n" in config.read_text()
        assert debian.run("tierctl", "--version") == "tierctl, version 0.1.0\n"

    debian.run("dpkg", "-r", "tierwise")
    assert pids(debian) == ["0", "0"]
    assert not list(debian.root.glob("etc/systemd/system/*.wants/tierwise*"))
    left = [path for path in ("usr/lib/tierwise", "usr/share/tierwise", "usr/bin/tierctl") if debian.has(path)]
    assert left == []
    assert debian.has(CONFIG)
    assert debian.has("var/lib/tierwise/decision/tierwise.db")
    debian.run("dpkg", "-P", "tierwise")
    assert not debian.has("etc/tierwise")
    assert not debian.has("var/lib/tierwise")

"""Decision services, MUNGE daemons and a PostgreSQL, each started for the tests and removed after them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from decision_service import Service, eventually, node_sample

from tierwise_lab import munge


@pytest.fixture(autouse=True, scope="session")
def _root() -> None:
    """Peers of several uids, and a munged of our own, need root; as CI and the Makefile run us."""
    assert os.geteuid() == 0, "run the tests of the decision service as root"


@pytest.fixture
def make_service() -> Iterator[Callable[..., Service]]:
    """Makes services (not yet started); all are gone after the test."""
    made: list[Service] = []

    def make(**options: object) -> Service:
        made.append(Service(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for service in made:
        print(service.log)  # pytest shows it where a test has failed
        service.remove()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A running service on SQLite, without TCP, that knows a node with three tiers. For all tests of a module: they
    leave other nodes alone and use job ids of their own."""
    running = Service().start()
    running.client().sample(node_sample())
    yield running
    running.remove()


@pytest.fixture
def fresh_service(make_service: Callable[..., Service]) -> Service:
    """A running service for one test alone."""
    return make_service().start()


@pytest.fixture(scope="session")
def munges() -> Iterator[tuple[Path, Path]]:
    """The sockets of two munged with different keys: ours, and a foreign one."""
    directories = [Path(tempfile.mkdtemp(prefix="tw-munge-")) for _ in range(2)]
    running = []
    for directory in directories:
        directory.chmod(0o755)
        munge.install_key(directory / "munge.key", None)
        running.append(subprocess.Popen(munge.command(directory), stderr=subprocess.DEVNULL))
    sockets = [directory / "munge.sock" for directory in directories]
    eventually(lambda: all(socket.exists() for socket in sockets))
    yield sockets[0], sockets[1]
    for process in running:
        process.terminate()
        process.wait(10)
    for directory in directories:
        shutil.rmtree(directory)


class PostgreSQL:
    """A private server, reached by a unix socket. As user postgres: it does not run as root."""

    def __init__(self) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        assert binaries, "PostgreSQL is not installed: see lab/packages.txt"
        self._bin = binaries[-1].parent
        self.directory = Path(tempfile.mkdtemp(prefix="tw-pg-"))
        shutil.chown(self.directory, "postgres")
        self.url = f"postgresql://postgres@/postgres?host={self.directory}"
        self.run("initdb", "-D", f"{self.directory}/data", "-A", "trust", "-U", "postgres", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory} -c fsync=off"
        log = f"{self.directory}/log"
        self.run("pg_ctl", "-D", f"{self.directory}/data", "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.directory}/data", "-m", "immediate", "-w", "stop")

    def sql(self, statement: str) -> str:
        """What psql prints for one statement."""
        command = ("psql", "-h", str(self.directory), "-U", "postgres", "-AtXqc", statement)
        return self.run(*command).strip()

    def empty(self) -> None:
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def run(self, program: str, *args: str) -> str:
        found = subprocess.run(
            [str(self._bin / program), *args],
            user="postgres",
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=program == "psql",
            stdout=None if program == "psql" else subprocess.DEVNULL,
            check=True,
            text=True,
        )
        return found.stdout or ""


@pytest.fixture(scope="session")
def _postgresql() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.directory)


@pytest.fixture
def postgresql(_postgresql: PostgreSQL) -> PostgreSQL:
    """A running server with an empty database."""
    _postgresql.empty()
    return _postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.url

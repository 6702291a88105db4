"""tierwise-exec, under the sanitizers, with a real agent. The runtime is a script that prints how it was called: the
real one is in the guest (tests/guest/test_slurm_containers.py)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from handmade import AgentProcess, running_agent
from test_staging import copier, source

from tierwise.units import MIB

REPOSITORY = Path(__file__).parents[2]
RUNTIME = '#!/bin/sh\nfor word in "$(basename "$0")" "$@"; do printf "%s\\n" "$word"; done\n'


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    """One agent for all."""
    with running_agent(f"exec{os.getpid()}", {}) as running:
        yield running


@pytest.fixture(scope="module")
def program() -> Path:
    """tierwise-exec with the address and undefined-behaviour sanitizers."""
    subprocess.run(["make", "-s", "-C", REPOSITORY / "csrc/exec", "sanitized"], check=True)
    return REPOSITORY / "build/exec/sanitized/tierwise-exec"


@pytest.fixture
def data(program: Path) -> Iterator[Path]:
    """A folder with tierwise-exec, and in `real` runtimes that print their arguments."""
    with tempfile.TemporaryDirectory(prefix="tw-data-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "real").mkdir()
        shutil.copy(program, folder)
        for runtime in (folder / "real/apptainer", folder / "real/singularity"):
            runtime.write_text(RUNTIME)
            runtime.chmod(0o755)
        yield folder


def run(data: Path, *argv: str, program: str = "tierwise-exec", **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{data}:{data}/real:/usr/bin:/bin"
    return subprocess.run(
        [data / program, *argv], env={"PATH": path, **environment}, capture_output=True, text=True, check=False
    )


def words(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_image_is_a_copy_and_all_else_as_it_was(agent: AgentProcess, data: Path) -> None:
    image = source(data)
    argv = ["exec", "--cleanenv", "-B", "/a:/b", str(image), "sh", "-c", "exit 3", str(image)]
    for call in (["apptainer", *argv], argv):
        name, *rest = words(run(data, *call, TIERWISE_SOCKET=str(agent.socket)))
        staged = Path(rest[4])
        assert name == "apptainer"
        assert rest == [str(staged) if word == str(image) and at == 4 else word for at, word in enumerate(argv)]
        assert staged.read_bytes() == image.read_bytes()
        assert staged.is_relative_to(agent.folder / "stage")


@pytest.mark.parametrize("runtime", ["apptainer", "singularity"])
def test_a_link_with_the_runtimes_name(agent: AgentProcess, data: Path, runtime: str) -> None:
    (data / runtime).symlink_to("tierwise-exec")
    image = source(data)
    for verb in ("exec", "run", "shell"):
        *called, staged = words(run(data, verb, str(image), program=runtime, TIERWISE_SOCKET=str(agent.socket)))
        assert called == [runtime, verb]
        assert Path(staged).is_relative_to(agent.folder / "stage")
    assert words(run(data, "version", program=runtime)) == [runtime, "version"]


def test_an_image_that_is_a_folder(agent: AgentProcess, data: Path) -> None:
    (data / "sandbox/bin").mkdir(parents=True)
    source(data, "sandbox/bin/sh", mode=0o755)
    staged = Path(words(run(data, "run", f"{data}/sandbox", TIERWISE_SOCKET=str(agent.socket)))[-1])
    assert staged.is_relative_to(agent.folder / "stage")
    assert (staged / "bin/sh").read_bytes() == (data / "sandbox/bin/sh").read_bytes()


@pytest.mark.parametrize("value", ["1", "true", " T", "yes", "0", "false", " F", "", " "])
def test_a_container_that_is_to_be_written_to_is_no_copy(agent: AgentProcess, data: Path, value: str) -> None:
    """In apptainer's environment 0 and false mean no, and blank is not set; what is no word of its, it says itself."""
    image = source(data)
    writable = value.strip() in ("1", "true", "T", "yes")
    for name in ("APPTAINER_WRITABLE", "SINGULARITY_WRITABLE"):
        done = run(data, "exec", str(image), TIERWISE_SOCKET=str(agent.socket), **{name: value})
        assert (words(done)[-1] == str(image)) == writable
    assert words(run(data, "exec", "--writable", str(image), TIERWISE_SOCKET=str(agent.socket)))[-1] == str(image)


def test_scratch_and_staged_input_are_bound(agent: AgentProcess, data: Path) -> None:
    image = source(data)
    shown = {"TIERWISE_SCRATCH": "/run/scratch", "TIERWISE_STAGE": "/run/links", "TIERWISE_SOCKET": str(agent.socket)}
    binds = words(run(data, "exec", str(image), **shown))[2:-1]
    assert binds == ["--bind", "/run/scratch", "--bind", "/run/links:/run/links:ro"]


def test_without_an_agent_the_plain_command_runs(data: Path) -> None:
    image = source(data)
    done = run(data, "exec", str(image), "true", TIERWISE_SOCKET="/nowhere.sock")
    assert words(done) == ["apptainer", "exec", str(image), "true"]
    assert done.stderr == "tierwise-exec: no agent runs here (/nowhere.sock): the plain command runs\n"


@pytest.mark.parametrize("image", ["docker://debian", "/nowhere/image.sif", "instance://one"])
def test_images_that_are_no_files_run_as_they_are(data: Path, image: str) -> None:
    done = run(data, "exec", image, "true")
    assert (words(done), done.stderr) == (["apptainer", "exec", image, "true"], "")


def test_what_can_not_be_staged_is_said_in_one_line(agent: AgentProcess, data: Path) -> None:
    (data / "empty").touch()
    done = run(data, "exec", f"{data}/empty", TIERWISE_SOCKET=str(agent.socket))
    assert words(done) == ["apptainer", "exec", f"{data}/empty"]
    assert done.stderr == f"tierwise-exec: {data}/empty can't be staged: it is empty: the plain command runs\n"


def test_an_agent_that_stands_still(agent: AgentProcess, data: Path) -> None:
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        image = source(data)
        done = run(data, "exec", str(image), TIERWISE_SOCKET=str(agent.socket), TIERWISE_STAGE_WAIT="0")
        assert words(done) == ["apptainer", "exec", str(image)]
        assert "the agent did not answer" in done.stderr
    finally:
        os.kill(agent.pid, signal.SIGCONT)


def test_a_wait_that_is_over(agent: AgentProcess, data: Path) -> None:
    agent.ask(op="stage", path=str(source(data, "first")), wait=30)  # so that the tmpfs is there
    image = source(data, "large", 100)
    agent.ask(op="stage", path=str(image), wait=0)
    pid = copier(agent)
    done = run(data, "exec", str(image), TIERWISE_SOCKET=str(agent.socket), TIERWISE_STAGE_WAIT="2")
    os.kill(pid, signal.SIGCONT)
    assert words(done) == ["apptainer", "exec", str(image)]
    said = done.stderr.splitlines()
    assert said[0] == f"tierwise-exec: staging {image} (100 MiB) on dram, for at most 2 s"
    assert "is not staged after 2 s" in said[1]
    assert image.stat().st_size == 100 * MIB


def test_another_one_under_the_runtimes_name(data: Path, program: Path) -> None:
    shutil.copy(program, data / "apptainer")
    done = run(data, "exec", "image.sif")
    assert done.returncode == 255
    assert done.stderr.startswith("tierwise-exec: it called itself: ")


def test_a_runtime_that_can_not_be_started(data: Path) -> None:
    (data / "real/apptainer").write_text("neither a script nor a program\n")
    done = run(data, "version")
    assert done.returncode == 255
    assert done.stderr == f"tierwise-exec: {data}/real/apptainer could not be started: Exec format error\n"


@pytest.mark.parametrize("answer", ["", "status=ok", "no message\n\n", "status=ok\nsize=\0\n\n", "x" * 70000])
def test_an_agent_that_answers_nonsense(data: Path, answer: str) -> None:
    image, place = source(data), str(data / "nonsense.sock")
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as thread:
        listener.bind(place)
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                with contextlib.suppress(OSError):
                    peer.sendall(answer.encode())

        served = thread.submit(serve)
        done = run(data, "exec", str(image), TIERWISE_SOCKET=place)
        served.result()
    assert words(done) == ["apptainer", "exec", str(image)]
    assert done.stderr.count("\n") == 1
    assert "the agent did not answer" in done.stderr


def test_no_runtime_at_all(data: Path) -> None:
    (data / "apptainer").symlink_to("tierwise-exec")
    (data / "real/apptainer").unlink()
    done = run(data, "exec", "image.sif", program="apptainer")
    assert done.returncode == 127
    assert done.stderr == "tierwise-exec: no apptainer in PATH\n"
    assert "Usage: tierwise-exec" in run(data, "--help").stdout

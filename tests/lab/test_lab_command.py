"""The command `lab`: exit codes, what it leaves behind, what it says when something is missing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from functools import partial
from pathlib import Path

from tierwise_lab.daemons import wait_until
from tierwise_lab.options import REPOSITORY

LAB = str(REPOSITORY / "lab" / "lab")


def lab(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LAB, *arguments], input="", capture_output=True, text=True, timeout=300, env=env, check=False
    )


def machines_of(lab_pid: int) -> list[int]:
    """The QEMU processes that this `lab` started."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((proc / "stat").read_text().rpartition(") ")[2].split()[1])
            if parent == lab_pid and b"qemu" in (proc / "cmdline").read_bytes():
                found.append(int(proc.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_run_brings_back_exit_code_output_and_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = "echo hello; echo there >&2; echo file > /out/file; exit 3"
    done = lab("run", "--bare", "--topology", "small", "--out", str(out), "--", "sh", "-c", script)
    assert done.returncode == 3
    assert done.stdout == "hello\n"
    assert "there\n" in done.stderr
    assert "booting a virtual node" in done.stderr
    assert (out / "file").read_text() == "file\n"


def test_test_reports_what_pytest_says() -> None:
    """That no test was chosen; `make guest-test` shows what it says of some that pass."""
    module = Path(__file__).with_name("test_topology.py")
    done = lab("test", "--topology", "small", str(module), "-k", "no_such")
    assert done.returncode == 5, done.stderr
    assert "deselected" in done.stdout


def test_up_is_a_shell_on_a_node() -> None:
    ours, its = os.openpty()
    process = subprocess.Popen([LAB, "up", "--bare", "--topology", "small"], stdin=its, stdout=its, stderr=its)
    os.close(its)
    said = b""
    try:
        while b"node1:~# " not in said:  # what is typed before belongs to nobody
            said += more(ours)
        os.write(ours, b"echo on $(hostname); exit 3\n")
        while b"on node1" not in said:
            said += more(ours)
        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def more(terminal: int) -> bytes:
    """What a terminal shows next, within five minutes."""
    assert select.select([terminal], [], [], 300)[0], "silence"
    return os.read(terminal, 65536)


def test_the_machine_dies_with_the_tool(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        # A shell's background jobs, and all that they start, ignore SIGINT: undo that.
        command = ["env", "--default-signal=INT", LAB, "run", "--bare", "--topology", "small", "--", "sleep", "1000"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        try:
            machines = wait_until(partial(machines_of, process.pid), "QEMU to start", 120)
            process.send_signal(number)
            assert process.wait(30) != 0
        finally:
            process.kill()
            process.wait()
        wait_until(partial(all_gone, machines), "QEMU to end", 60)
        if number != signal.SIGKILL:
            assert list(tmp_path.iterdir()) == []


def all_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_what_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    for program in ("sh", "dirname", "readlink", "git"):
        if Path(f"/usr/bin/{program}").exists():
            (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    environment = {**os.environ, "PATH": str(tmp_path), "TIERWISE_CACHE": str(tmp_path / "cache")}
    done = lab("build", env=environment)
    assert done.returncode == 125
    assert "apt-get install" in done.stderr
    assert "mmdebstrap" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_names_are_answered_with_the_right_ones() -> None:
    suite = lab("build", "--suite", "potato")
    assert (suite.returncode, "the suites known are forky, trixie" in suite.stderr) == (125, True)
    topology = lab("run", "--topology", "flat", "--", "true")
    assert (topology.returncode, "small, three-tiers" in topology.stderr) == (125, True)
    outside = lab("test", "/etc/passwd")
    assert (outside.returncode, "is not in" in outside.stderr) == (125, True)

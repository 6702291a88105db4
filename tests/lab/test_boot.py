"""A virtual node: its tiers are the topology's, and what runs on it comes back."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierwise_lab.daemons import LabError, wait_until
from tierwise_lab.guest import Guest

KERNEL_MIB = 200  # what the kernel keeps of a node's memory for itself

MOVE = """
import ctypes, mmap
size = 4 << 20
count = size // 4096
memory = mmap.mmap(-1, size)
memory.write(b"x" * size)
start = ctypes.addressof((ctypes.c_char * size).from_buffer(memory))
pages = (ctypes.c_void_p * count)(*range(start, start + size, 4096))
status = (ctypes.c_int * count)(*[-99] * count)
move = ctypes.CDLL("libnuma.so.1").numa_move_pages
assert move(0, ctypes.c_ulong(count), pages, (ctypes.c_int * count)(*[2] * count), status, 2) == 0
print(sum(node == 2 for node in status), "of", count)
"""


NVDIMM = (
    *("-machine", "nvdimm=on", "-m", "slots=1,maxmem=8G"),
    *("-object", "memory-backend-ram,id=persistent,size=256M,share=on"),
    *("-device", "nvdimm,id=nvdimm,memdev=persistent,node=1"),
)
"""A device beside the memory tiers: persistent memory with a file system on it."""


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    with Guest("three-tiers", qemu=NVDIMM) as guest:
        yield guest


def lines(guest: Guest, script: str) -> list[str]:
    return str(guest.run(["sh", "-c", script], check=True).stdout).splitlines()


def test_the_nodes_have_the_topologys_sizes_and_distances(guest: Guest) -> None:
    for number, tier in enumerate(guest.topology.tier):
        node = f"/sys/devices/system/node/node{number}"
        distances, total = lines(guest, f"cat {node}/distance; awk '/MemTotal/ {{print $4}}' {node}/meminfo")
        assert tuple(map(int, distances.split())) == tier.distances
        wanted_mib = {"dram": 2048, "pmem": 1024, "cxl": 2048}[tier.name]
        assert wanted_mib - KERNEL_MIB <= int(total) >> 10 <= wanted_mib


def test_the_kernel_ranks_three_tiers_by_hmat(guest: Guest) -> None:
    assert len(lines(guest, "ls -d /sys/devices/virtual/memory_tiering/memory_tier*")) == 3
    latencies = lines(guest, "cat /sys/devices/system/node/node?/access0/initiators/read_latency")
    assert list(map(int, latencies)) == [tier.latency_ns for tier in guest.topology.tier]


def test_pages_move_to_the_slowest_node(guest: Guest) -> None:
    assert guest.run(["python3", "-c", MOVE], check=True).stdout == "1024 of 1024\n"


def test_a_retained_region_lies_on_persistent_memory(guest: Guest) -> None:
    format_it = """
    modprobe -a nfit nd_pmem && ndctl create-namespace -f -e namespace0.0 -m fsdax >/dev/null
    busybox mke2fs -b 4096 /dev/pmem0 >/dev/null && mkdir /mnt/pmem"""
    guest.run(["sh", "-ec", format_it], check=True)
    inside = ["python3", "/opt/tierwise/tests/lab/retain_inside.py", "/mnt/pmem"]
    assert guest.run(inside, check=True, timeout=400).stdout == "retained\n"
    assert "dax=always" in guest.run(["findmnt", "-no", "OPTIONS", "/mnt/pmem"], check=True).stdout


def test_slurm_apptainer_and_the_project_are_in_the_image(guest: Guest) -> None:
    slurm, apptainer, commands = lines(
        guest, "slurmd -V; apptainer --version; tierctl --help >/dev/null && command -v tierctl"
    )
    assert slurm.startswith("slurm-wlm 24.11")
    assert apptainer.startswith("apptainer version 1.4")
    assert commands == "/usr/local/bin/tierctl"
    assert lines(guest, "ls /opt/tierwise/build/spank") == ["24.11"]


def test_exit_code_output_and_errors_come_back(guest: Guest) -> None:
    done = guest.run(["sh", "-c", "cat; echo oops >&2; exit 7"], input=b"input " * 100_000)
    assert (done.returncode, done.stdout, done.stderr) == (7, "input " * 100_000, "oops\n")
    assert guest.run(["sh", "-c", "kill -TERM $$"]).returncode == -signal.SIGTERM
    missing = guest.run(["no-such-program"])
    assert (missing.returncode, missing.stderr) == (127, "no-such-program: No such file or directory\n")


def test_output_streams_while_the_command_runs(guest: Guest) -> None:
    class Answering(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            if b"asking" in data:
                command.write(b"answer\n")
            return super().write(data)

    seen = Answering()
    command = guest.nodes[0].start(["sh", "-c", "echo asking; read word; echo got $word"], stdout=seen)
    assert command.wait(60).returncode == 0
    assert seen.getvalue() == b"asking\ngot answer\n"


def test_a_daemon_left_behind_does_not_hold_its_starter(guest: Guest) -> None:
    done = guest.run(["sh", "-c", "(sleep 1000; echo late) & echo started"], timeout=120)
    assert (done.returncode, done.stdout) == (0, "started\n")
    assert lines(guest, "pkill -x sleep && echo ended") == ["ended"]


def test_a_command_has_a_terminal_if_asked(guest: Guest) -> None:
    command = guest.nodes[0].start(["sh", "-c", "read line; stty size; tty"], terminal=True)
    command.resize(33, 77)
    command.write(b"\n")
    done = command.wait(60)
    assert done.returncode == 0
    assert "33 77" in done.stdout
    assert "/dev/pts/" in done.stdout


def test_ctrl_c_reaches_what_runs_on_the_terminal(guest: Guest) -> None:
    class Typing(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            if b"begun" in data:
                command.write(b"\x03")
            return super().write(data)

    command = guest.nodes[0].start(["sh", "-c", "echo begun; exec sleep 1000"], terminal=True, stdout=Typing())
    assert command.wait(60).returncode == -signal.SIGINT


def test_files_go_in_and_come_out(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script").write_text("#!/bin/sh\nid -u > /out/who\n")
    (tmp_path / "folder" / "script").chmod(0o755)
    guest.copy_in(tmp_path / "folder", "/srv/given")
    guest.run(["/srv/given/script"], check=True)
    guest.copy_out("/out", tmp_path)
    assert (tmp_path / "out" / "who").read_text() == "0\n"
    with pytest.raises(LabError, match="can't copy /no/such"):
        guest.copy_out("/no/such", tmp_path)


def test_a_command_that_takes_too_long_is_killed_and_the_node_lives(guest: Guest) -> None:
    with pytest.raises(LabError, match=r"(?s)not done within 4 s: it was killed.*working"):
        guest.run(["sh", "-c", "echo working; sleep 1000"], timeout=4)
    wait_until(lambda: lines(guest, "pgrep -x sleep || echo none") == ["none"], "what it had started to end", 60)


def test_a_node_that_hangs_is_killed(guest: Guest) -> None:
    node = guest.nodes[0]  # the last test of this guest
    os.kill(node.pid, signal.SIGSTOP)
    with pytest.raises(LabError, match="the node hangs: it was killed"):
        node.run(["true"], timeout=1)
    assert not node.alive()
    with pytest.raises(LabError, match=r"node1 died.*QEMU ended with -9"):
        node.run(["true"])

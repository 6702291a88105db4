"""The user library on a node with three real tiers: what a program asks for lands there, and stays.

Where pages are is asked of the kernel (move_pages in the library, numa_maps here).
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import AgentProcess, JobCgroups, until
from memory_jobs import Job, Process, regions

from tierwise.units import MIB

NODE = "memory"
DRAM, PMEM, CXL = 0, 1, 2
job_ids = itertools.count(2000)


@pytest.fixture(scope="module")
def job(agent: AgentProcess, cgroups: JobCgroups) -> Iterator[Job]:
    """A job that holds most of its memory on the slowest tier."""
    begun = Job(agent, cgroups, next(job_ids), limit=1300 * MIB, tier="cap").begin()
    yield begun
    begun.end()


@pytest.fixture(scope="module")
def program(job: Job) -> Process:
    """A process of that job: to start one takes seconds here."""
    begun = Process(job.agent, job)
    begun("!BEGUN_WITH = {*globals(), 'BEGUN_WITH'}")
    return begun


@pytest.fixture
def process(program: Process, job: Job) -> Iterator[Process]:
    """The same, without what the test before has left."""
    yield program
    program("!for name in {*globals()} - BEGUN_WITH: del globals()[name]")
    until(lambda: not job.granted(), "what the test was granted to be given back")


def numa_maps(process: Process, at: str, size: int) -> dict[int, int]:
    """Bytes by node of the mapping that begins at an expression's address, by the kernel's own list."""
    address = int(process(at))
    total: dict[int, int] = {}
    for line in Path(f"/proc/{process.pid}/numa_maps").read_text().splitlines():
        if address <= int(line.split()[0], 16) < address + size:
            for node, pages in re.findall(r" N(\d+)=(\d+)", line):
                total[int(node)] = total.get(int(node), 0) + int(pages) * 4096
    return total


WANTED = {
    "lat": {"dram": 1.0},
    "shl": {"dram": 1.0},
    "cap": {"cxl": 1.0},
    "lat,cap": {"pmem": 1.0},
    "tier:pmem": {"pmem": 1.0},
    "bw": {"dram": 200 / 330, "pmem": 100 / 330, "cxl": 30 / 330},
    "bw,lat": {"dram": 200 / 300, "pmem": 100 / 300},
    "bw,cap": {"pmem": 100 / 130, "cxl": 30 / 130},
}
"""Shares of the tiers by hint; bandwidths are 200, 100 and 30 GB/s."""


def test_what_is_asked_for_lands_where_it_should(process: Process) -> None:
    """`make bench-memory` does the same with 1 GiB each."""
    for hint, wanted in WANTED.items():
        size = 16 * MIB if len(wanted) == 1 else 64 * MIB
        process(f"!m = memory.allocate({size}, '{hint}'); m.view[::4096] = bytes({size // 4096})")
        assert process("m.taken.name, m.reason") == "('TAKEN', '')"
        found = literal_eval(process("memory.where(m)"))
        shares = {tier: found.get(tier, 0) / size for tier in ("dram", "pmem", "cxl")}
        slack = 0.01 if len(wanted) == 1 else 0.08  # spread by huge pages, of which these are 32
        assert shares == pytest.approx({tier: wanted.get(tier, 0) for tier in shares}, abs=slack), (hint, found)
        kernel = numa_maps(process, "int(memory._ffi.cast('uintptr_t', m._pointer))", size)
        assert [kernel.get(n, 0) for n in (DRAM, PMEM, CXL)] == [found.get(t, 0) for t in ("dram", "pmem", "cxl")]


def test_small_memory_lies_on_the_tier_of_its_arena(job: Job) -> None:
    process = Process(job.agent, job)  # of its own: an arena keeps what it was granted
    process("!pieces = [memory.allocate(1000, hint) for hint in ('cap', 'lat') for _ in range(3000)]")
    process("!for piece in pieces: piece.view[:] = bytes(1000)")
    process("!places = [memory.where(piece) for piece in pieces[::61]]")
    assert process("set().union(*places[: len(places) // 2]), set().union(*places[len(places) // 2 + 1 :])") == (
        "({'cxl'}, {'dram'})"
    )
    assert job.granted().keys() == {"cxl", "dram"}
    process.kill()
    until(lambda: not job.granted(), "its grants to end with it")


def test_what_was_granted_stays_while_the_rest_of_the_job_is_moved(job: Job, process: Process) -> None:
    process("!near = memory.allocate(32 << 20, 'lat'); near.view[::4096] = bytes(8192)")
    process("!rest = memory.allocate(64 << 20); rest.view[::4096] = bytes(16384)")
    process("!memory.advise(rest, 'tier:dram')")  # so that it is in the wrong place when the advice is gone
    process("!rest.free(); rest = bytearray(64 << 20); rest[::4096] = bytes(16384)")
    until(lambda: job.agent.job(job.id)["found"].get("cxl", 0) >= 60 * MIB, "the rest to be on its tier")
    until(lambda: job.agent.job(job.id)["agrees"], "the job to agree with its plan")
    assert literal_eval(process("memory.where(near)")) == {"dram": 32 * MIB}


def test_advice_moves_what_is_there(job: Job) -> None:
    process = Process(job.agent, job)  # of its own: nobody says when memory goes that was only advised
    process("!held = bytearray(16 << 20); held[::4096] = bytes(4096)")
    assert process("memory.advise(held, 'lat').name") == "'TAKEN'"
    found = literal_eval(process("memory.where(held)"))
    assert found["dram"] >= 0.95 * 16 * MIB
    assert process("memory.advise(held, 'cap').name") == "'TAKEN'"
    assert literal_eval(process("memory.where(held)"))["cxl"] >= 0.95 * 16 * MIB
    process.kill()
    until(lambda: not job.granted(), "its grants to end with it")


def test_memory_that_grows_stays_on_its_tier(job: Job, process: Process) -> None:
    process("!m = memory.allocate(32 << 20, 'tier:pmem'); m.view[::4096] = bytes(8192); m.view[5] = 3")
    process("!other = memory.allocate(32 << 20, 'cap'); m.grow(96 << 20); m.view[32 << 20 :: 4096] = bytes(16384)")
    assert process("m.view[5], m.taken.name") == "(3, 'TAKEN')"
    assert literal_eval(process("memory.where(m)")) == {"pmem": 96 * MIB}
    assert job.granted() == {"pmem": 96 * MIB, "cxl": 32 * MIB}


def test_a_shared_region_lies_on_its_tier_for_everybody(
    agent: AgentProcess, cgroups: JobCgroups, process: Process
) -> None:
    other = Job(agent, cgroups, next(job_ids), limit=200 * MIB, tier="lat").begin()
    first = Process(agent, other)
    first("!r = memory.open_region('input', 16 << 20, 'cap', create=True); r.view[: 8 << 20 : 4096] = bytes(2048)")
    process("!r = memory.open_region('input'); r.view[8 << 20 :: 4096] = bytes(2048); sum(r.view[::4096])")
    assert literal_eval(process("memory.where(r)")) == {"cxl": 16 * MIB}
    first.kill()
    other.end()
    until(lambda: regions(agent)[0]["holders"] == [process.pid], "the first holder to be gone")
    assert literal_eval(process("memory.where(r)")) == {"cxl": 16 * MIB}
    process("!r.close()")
    until(lambda: not regions(agent), "the region to end with its last holder")


def test_a_full_tier_is_said_and_memory_comes_from_the_next(job: Job, process: Process) -> None:
    free = json.loads(job.agent.ask(op="status")["json"])["tiers"][PMEM]["free"]
    size = free + 64 * MIB
    process(f"!m = memory.allocate({size}, 'tier:pmem')")
    assert process("m.taken.name") == "'PARTLY'"
    assert "has no more room" in process("m.reason")


def test_a_process_is_told_when_its_memory_is_taken_back(job: Job, process: Process, tmp_path: Path) -> None:
    process("!import select; events = memory.events()")
    process("!m = memory.allocate(48 << 20, 'tier:pmem'); m.view[::4096] = bytes(12288)")
    free = json.loads(job.agent.ask(op="status")["json"])["tiers"][PMEM]["free"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mpol=bind:{PMEM},size=100%", "filler", tmp_path], check=True)
    try:
        subprocess.run(["fallocate", "-l", str(free - 8 * MIB), tmp_path / "filler"], check=True)
        assert process("len(select.select([events], [], [], 60)[0])") == "1"
        assert "Event(tier='pmem', size=" in process("memory.next_event()")
        until(lambda: job.granted().get("pmem", 0) == 0, "the grant to be taken back")
    finally:
        subprocess.run(["umount", tmp_path], check=True)

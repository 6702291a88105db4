"""The user library against a real agent: grants within a job's limit, sessions, regions and their end.

A job's processes are real ones in hand-made cgroups. This machine has one tier: where pages land is
tests/guest/test_memory_tiers.py.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, hand_made, until
from memory_jobs import Job, Process, regions

from tierwise.errors import RefusedError
from tierwise.units import MIB
from tierwise_node.memory import memfd
from tierwise_node.memory import regions as regions_module

NODE = f"memory{os.getpid()}"
OTHER = NOBODY - 1
job_ids = itertools.count(4711)


@pytest.fixture(scope="module")
def cgroups() -> Iterator[JobCgroups]:
    """Cgroups of this module's jobs."""
    yield from hand_made(NODE)


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    """One agent for the module: starting it takes a second."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        Path(folder).chmod(0o755)
        running = AgentProcess(Path(folder), NODE, {"retain": folder + "/retained"})
        (Path(folder) / "retained").mkdir()
        running.start()
        yield running
        running.close()


@pytest.fixture
def job(agent: AgentProcess, cgroups: JobCgroups) -> Iterator[Job]:
    """A job of its own for each test, and no region left of it."""
    begun = Job(agent, cgroups, next(job_ids)).begin()
    yield begun
    begun.end()
    until(lambda: not regions(agent), "regions to end with their holders")


def test_a_hint_is_taken_within_the_jobs_limit(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    assert process("!a = memory.allocate(100 << 20, 'cap')") == "None"
    assert process("a.taken.name") == "'TAKEN'"
    assert job.granted() == {"dram": 100 * MIB}
    assert process("!b = memory.allocate(200 << 20, 'cap')") == "None"
    assert process("b.taken.name") == "'REFUSED'"
    assert "too many" in process("b.reason")
    process("!a.free()")
    assert job.granted() == {}
    assert process("memory.allocate(200 << 20, 'bw,lat').taken.name") == "'TAKEN'"
    assert process("memory.allocate(10 << 20, 'tier:gold').reason") == repr("no tier 'gold' here: there are dram")
    process("!a = memory.allocate(100 << 20, 'cap')")
    process.kill()
    until(lambda: job.granted() == {}, "the grants of a killed process to end")


def test_a_hundred_requests_at_once_get_no_more_than_the_job_has(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    process("!sessions = [Raw() for _ in range(100)]; told = []")
    process("!for each in sessions: each(op='memory_session')")
    process("!def ask(raw, at): told.append(raw(op='memory_alloc', at=at, size=16 << 20, hint='LAT')['status'])")
    process("!threads = [threading.Thread(target=ask, args=(s, (n + 1) << 30)) for n, s in enumerate(sessions)]")
    process("![t.start() for t in threads]; [t.join() for t in threads]")
    assert process("len(told), told.count('ok'), told.count('refused')") == "(100, 16, 84)"
    assert job.granted() == {"dram": 256 * MIB}


def test_a_hundred_regions_at_once_stay_within_the_users_quota(agent: AgentProcess, job: Job) -> None:
    total = json.loads(agent.ask(op="status")["json"])["tiers"][0]["capacity"]
    size = total // 100  # of a quota of 25 %
    process = Process(agent, job)
    process("!sessions = [Raw() for _ in range(100)]; told = []")
    process("!for each in sessions: each(op='memory_session')")
    process(f"!def ask(raw, n): told.append(raw(op='memory_open', name='r' + str(n), size={size}, create=1))")
    process("!threads = [threading.Thread(target=ask, args=(s, n)) for n, s in enumerate(sessions)]")
    process("![t.start() for t in threads]; [t.join() for t in threads]; told = [a.get('error', 'ok') for a in told]")
    assert process("told.count('ok'), told.count('quota')") == "(25, 75)"


def test_two_processes_see_each_others_writes_and_the_last_one_ends_the_region(agent: AgentProcess, job: Job) -> None:
    one, two = Process(agent, job), Process(agent, job)
    one("!r = memory.open_region('matrix', 1 << 20, 'cap', create=True)")
    assert one("r.taken.name, r.size") == f"('TAKEN', {MIB})"
    one("!r.view[:5] = b'hello'")
    two("!r = memory.open_region('matrix')")
    assert two("bytes(r.view[:5])") == "b'hello'"
    two("!r.view[:5] = b'world'")
    assert one("bytes(r.view[:5])") == "b'world'"
    two("!r.grow(2 << 20); r.view[-1] = 7")
    one("!r.grow(2 << 20)")
    assert one("r.view[-1], bytes(r.view[:5])") == "(7, b'world')"
    assert "FileExistsError" in two("memory.open_region('matrix', 1, create=True, exclusive=True)")
    (region,) = regions(agent)
    assert (region["name"], region["uid"], region["size"]) == ("matrix", NOBODY, 2 * MIB)
    assert region["holders"] == [one.pid, two.pid]
    one("!r.close()")
    assert two("bytes(r.view[:5])") == "b'world'"
    assert regions(agent)
    two.kill()
    until(lambda: not regions(agent), "the region of a killed last holder to end")
    assert "FileNotFoundError" in one("memory.open_region('matrix')")


def test_a_forked_child_holds_what_it_inherited(agent: AgentProcess, job: Job) -> None:
    parent = Process(agent, job)
    parent("!r = memory.open_region('inherited', 4096, create=True); out, into = os.pipe()")
    parent("!child = os.fork() or (os.read(out, 1), r.view.__setitem__(0, 9), os.read(out, 1), os._exit(0))")
    parent("!r.close()")
    other = Process(agent, job)
    until(lambda: not regions(agent)[0]["holders"], "the parent to let go")
    parent("os.write(into, b'1')")
    other("!r = memory.open_region('inherited')")
    until(lambda: other("r.view[0]") == "9", "the child to write")
    other("!r.close()")
    assert regions(agent)[0]["held"]
    parent("os.write(into, b'2')")
    until(lambda: not regions(agent), "the region to end with the child")


def test_what_a_forked_child_asks_for_is_its_own(agent: AgentProcess, job: Job) -> None:
    parent = Process(agent, job)
    parent("!a = memory.allocate(50 << 20, 'cap'); a.view[0] = 1; out, into = os.pipe()")
    parent("!child = os.fork() or (a.free(), memory.allocate(20 << 20, 'cap'), os.read(out, 1), os._exit(0))")
    until(lambda: job.granted() == {"dram": 50 * MIB} or job.granted() == {"dram": 70 * MIB}, "the child's grant")
    assert parent("a.view[0], a.taken.name") == "(1, 'TAKEN')"
    parent("os.write(into, b'1')")
    parent("os.waitpid(child, 0)")
    until(lambda: job.granted() == {"dram": 50 * MIB}, "the child's grant to end")


def test_another_users_region_is_out_of_reach(agent: AgentProcess, cgroups: JobCgroups, job: Job) -> None:
    others = Job(agent, cgroups, next(job_ids), OTHER).begin()
    mine, theirs = Process(agent, job), Process(agent, others)
    mine("!r = memory.open_region('secret', 4096, create=True); r.view[0] = 42")
    assert "FileNotFoundError" in theirs("memory.open_region('secret')")
    theirs("!r = memory.open_region('secret', 4096, create=True)")
    assert theirs("r.view[0]") == "0"
    assert "may not drop" in theirs(f"Raw()(op='memory_drop', name='secret', uid={NOBODY})['reason']")
    seen = theirs("Raw()(op='memory_regions')['json']")
    assert str(OTHER) in seen
    assert str(NOBODY) not in seen
    assert "PermissionError" in theirs(f"os.listdir('/proc/{mine.pid}/fd')")
    assert mine("r.view[0]") == "42"
    others.end()


NOT_NAMES = ("a/b", "../etc", "", ".hidden", "a" * 65, "a b", "a%00b", "ä")
WRONG = (
    "op=memory_alloc\nat=0\nsize=0\nhint=LAT",
    "op=memory_alloc\nat=9223372036854775807\nsize=4096\nhint=LAT",
    "op=memory_alloc\nat=4096\nsize=-1\nhint=LAT",
    "op=memory_alloc\nat=4096\nsize=4096\nhint=FAST",
    "op=memory_alloc\nat=4096\nsize=99999999999\nhint=CAP",
    "op=memory_open\nname=x\nsize=9223372036854775807\ncreate=1",
    "op=memory_open\nname=x\nsize=0\ncreate=1",
    "op=memory_grow\nname=x\nsize=1",
    "op=memory_session",
    "op=prolog\njob_id=1",
    "op",
    *(f"op=memory_open\nname={name}\nsize=4096\ncreate=1" for name in NOT_NAMES),
)


def test_wrong_names_and_requests_are_refused_and_the_session_goes_on(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    process("!raw = Raw(); raw(op='memory_session')")
    for message in WRONG:
        answer = process(f"raw.send({(message + chr(10) * 2).encode()!r})")
        assert "'status': 'refused'" in answer or "'status': 'error'" in answer, (message, answer)
    assert process("raw(op='memory_alloc', at=4096, size=4096, hint='LAT')['status']") == "'ok'"
    assert regions(agent) == []
    assert "failed" not in "".join(line for line in agent.log.read_text().splitlines() if "request" in line)


def test_who_is_in_no_job_is_refused_and_gets_memory_all_the_same(agent: AgentProcess) -> None:
    code = "from tierwise import memory; m = memory.allocate(8 << 20, 'lat'); print(m.taken.name, m.reason)"
    environment = {**os.environ, "TIERWISE_SOCKET": str(agent.socket)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("REFUSED")
    assert "is in no job on this node" in done.stdout


def test_a_killed_agent_finds_regions_again_and_the_library_claims_its_grants(agent: AgentProcess, job: Job) -> None:
    one, two = Process(agent, job), Process(agent, job)
    one("!a = memory.allocate(50 << 20, 'cap')")
    one("!r = memory.open_region('matrix', 1 << 20, create=True); r.view[0] = 5")
    agent.end(signal.SIGKILL)
    agent.start()
    two("!r = memory.open_region('matrix', 0)")
    assert two("r.view[0]") == "5"
    one("!b = memory.allocate(10 << 20, 'cap')")
    assert one("b.taken.name") == "'TAKEN'"
    assert job.granted() == {"dram": 60 * MIB}
    one.kill()
    two.kill()
    until(lambda: not regions(agent), "the region to end")


def test_only_what_the_agent_made_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name proves nothing: in a mount namespace of their own, users give any file of root's any name."""
    ours = memfd.make(NOBODY, "ours", "LAT")
    users = os.open(f"/proc/self/fd/{ours}", os.O_RDWR)
    named = os.memfd_create(f"tierwise/{NOBODY}/LAT/named")
    found = regions_module.Regions()
    found.find_again([os.getpid()])
    assert [region.name for region in found] == ["ours"]
    monkeypatch.setattr(regions_module, "MOST_LOOKS", 3)  # of a user who has opened very many files
    bounded = regions_module.Regions()
    bounded.find_again([os.getpid()])
    assert list(bounded) == []
    for descriptor in (ours, users, named, *(region.file for region in found)):
        os.close(descriptor)


def test_sessions_go_on_through_a_reload(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    process("!a = memory.allocate(50 << 20, 'cap')")
    reloads = agent.log.read_text().count("tiers dram")
    os.kill(agent.pid, signal.SIGHUP)
    until(lambda: agent.log.read_text().count("tiers dram") > reloads, "the reload")
    assert process("memory.allocate(20 << 20, 'cap').taken.name") == "'TAKEN'"
    until(lambda: job.granted() == {"dram": 50 * MIB}, "the plan to know of the grant")


def test_a_retained_region_outlives_its_holders_its_job_and_the_agent(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    process("!r = memory.open_region('model', 1 << 20, create=True, retain=True); r.view[0] = 11")
    process.kill()
    agent.end(signal.SIGKILL)
    agent.start()
    assert regions(agent)[0]["retained"] is True
    other = Process(agent, job)
    other("!r = memory.open_region('model')")
    assert other("r.view[0], r.size") == f"(11, {MIB})"
    other("!memory.drop_region('model')")
    assert other("r.view[0]") == "11"
    assert "FileNotFoundError" in other("memory.open_region('model')")
    other("!r.close()")
    until(lambda: not regions(agent), "the dropped region to end")
    assert not list(agent.folder.glob("retained/*/*"))


def test_what_a_holder_adds_to_a_retained_region_by_itself_is_cut_off(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    process("!raw = Raw(); raw(op='memory_session')")
    asked = "raw(op='memory_open', name='model', size=1 << 20, create=1, retain=1)['status']"
    assert process(asked) == "'ok'"
    process(
        "!file = raw.descriptors[0]; os.pwrite(file, b'kept', (1 << 20) - 4); os.posix_fallocate(file, 0, 64 << 20)"
    )
    until(lambda: process("os.fstat(file).st_size") == str(MIB), "what it added to be gone")
    assert process("os.pread(file, 9, (1 << 20) - 4)") == "b'kept'"
    process("!raw(op='memory_drop', name='model'); os.close(file)")


def test_only_root_and_the_owner_drop_a_region(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    process("!r = memory.open_region('mine', 4096, create=True)")
    assert agent.ask(op="memory_drop", name="mine", uid=NOBODY) == {"status": "ok"}
    assert regions(agent)[0]["dropped"] is True
    process("!r.close()")
    assert regions(agent) == []
    with pytest.raises(RefusedError, match="has no region"):
        agent.ask(op="memory_drop", name="mine", uid=NOBODY)


def test_tierctl_shows_regions_and_drops_them(agent: AgentProcess, job: Job) -> None:
    process = Process(agent, job)
    process("!r = memory.open_region('matrix', 4 << 20, 'cap', create=True)")
    tierctl = [str(Path(sys.executable).with_name("tierctl")), "--agent", str(agent.socket), "shared"]
    listed = subprocess.run([*tierctl, "list"], capture_output=True, text=True, check=True).stdout
    assert all(word in listed for word in ("matrix", "4 MiB", "dram", str(process.pid), "nobody")), listed
    subprocess.run([*tierctl, "drop", "matrix", "--user", "nobody"], check=True)
    process("!r.close()")
    assert regions(agent) == []


@pytest.mark.parametrize("sanitizer", ["address", "thread", "undefined"])
def test_threads_and_forks_with_an_agent_under_the_sanitizers(
    agent: AgentProcess, cgroups: JobCgroups, sanitizer: str
) -> None:
    repository = Path(__file__).resolve().parents[2]
    program = f"../../build/libtierwise/{sanitizer}/test_threads"
    subprocess.run(["make", "-s", "-C", repository / "csrc/libtierwise", program], check=True)
    shutil.copy(repository / "csrc/libtierwise" / program, agent.folder)
    job = Job(agent, cgroups, next(job_ids), limit=1 << 30).begin()
    argv = ["/usr/bin/env", f"TIERWISE_SOCKET={agent.socket}", str(agent.folder / "test_threads")]
    process = cgroups.start(job.id, argv)
    assert process.wait(60) == 0
    until(lambda: job.granted() == {}, "its grants to end")
    job.end()

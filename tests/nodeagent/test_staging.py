"""Staging on a real agent: copies, who gets them, what goes for others, and what happens when things break.

Everything runs on this machine's one tier; where pages land is for tests/guest/test_slurm_containers.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, running_agent, until

from tierwise.errors import RefusedError, UnavailableError
from tierwise.messages import ReadTurn
from tierwise.units import MIB
from tierwise_node.numa import NumaNodes
from tierwise_node.staging.source import MAX_DEPTH, StageError, host_root, look, user, walk
from tierwise_node.staging.turns import Turns
from tierwise_node.tiers import Topology

ALICE, BOB = NOBODY, 1  # any two accounts that every Debian has: nobody and daemon
JOB, LOST = 4711, 4712
QUOTA = 256 * MIB
"""What copies may fill here, all together; a user half of it."""
ASK_AS = """
import json, os, sys
from tierwise.errors import TierwiseError
from tierwise.local import ask  # before setuid: the checkout may be below a folder that is root's alone
from concurrent.futures import ThreadPoolExecutor
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
def answer(question):
    try:
        return ask(sys.argv[1], question, timeout=60)
    except TierwiseError as error:
        return {"status": "refused", "reason": str(error)}
with ThreadPoolExecutor(100) as threads:
    for line in sys.stdin:
        print(json.dumps(list(threads.map(answer, json.loads(line)))), flush=True)
"""


class Asker:
    """A process of a user, in no job, that asks the agent; what it stages is held while it lives."""

    def __init__(self, agent: AgentProcess, uid: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ASK_AS, str(agent.socket), str(uid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def at_once(self, questions: list[dict[str, str | int]]) -> list[dict[str, str]]:
        """The answers to questions that are asked at the same time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(questions) + "\n")
        self._process.stdin.flush()
        answers: list[dict[str, str]] = json.loads(self._process.stdout.readline())
        return answers

    def ask(self, **fields: str | int) -> dict[str, str]:
        return self.at_once([fields])[0]

    def stage(self, path: Path, **more: str | int) -> dict[str, str]:
        return self.ask(op="stage", path=str(path), wait=60, **more)

    def staged(self, path: Path, **more: str | int) -> Path:
        """Where the copy is, once it is there."""
        answer = self.stage(path, **more)
        assert answer.get("state") == "ready", answer
        return Path(answer["path"])

    def refused(self, path: Path, **more: str | int) -> str:
        answer = self.stage(path, **more)
        assert answer["status"] == "refused", answer
        return answer["reason"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def running() -> Iterator[AgentProcess]:
    """One agent for most tests: starting it is half of their time. Small quotas, so that small files fill them."""
    all_there_is = Topology(NumaNodes(), {}, lambda _node: (100, 1)).tiers()[0].capacity
    stage = {"share": (QUOTA + 4096) / all_there_is, "user_share": 0.5}  # a share in floating point loses bytes
    with running_agent(f"stage{os.getpid()}", {"stage": stage}) as process:
        yield process


@pytest.fixture
def agent(running: AgentProcess) -> Iterator[AgentProcess]:
    """It, without copies before and after."""
    yield running
    for path in {row["source"] for row in rows(running) if row["path"]}:
        until(lambda path=path: running.ask(op="stage_drop", path=path)["status"] == "ok", f"{path} to be let go")


@pytest.fixture
def alice(agent: AgentProcess) -> Iterator[Asker]:
    yield from asker(agent, ALICE)


@pytest.fixture
def bob(agent: AgentProcess) -> Iterator[Asker]:
    yield from asker(agent, BOB)


def asker(agent: AgentProcess, uid: int) -> Iterator[Asker]:
    running = Asker(agent, uid)
    yield running
    running.close()


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder that everybody can look into."""
    with tempfile.TemporaryDirectory(prefix="tw-data-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def source(data: Path, name: str = "image.sif", mib: int = 1, mode: int = 0o644, uid: int = ALICE) -> Path:
    """A file with content of its own."""
    path = data / name
    path.write_bytes(os.urandom(64) * (mib * MIB // 64))
    path.chmod(mode)
    os.chown(path, uid, uid)
    return path


def rows(agent: AgentProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(agent.ask(op="stage_list")["json"])
    return found


def as_user(uid: int, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *argv],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip


def test_one_copy_serves_everybody_who_can_read_the_source(
    agent: AgentProcess, alice: Asker, bob: Asker, data: Path
) -> None:
    path = source(data)
    copy = alice.staged(path)
    assert copy.read_bytes() == path.read_bytes()
    assert bob.staged(path) == copy
    assert alice.staged(path) == copy
    (row,) = rows(agent)
    assert (row["hits"], row["held"], row["public"], row["size"]) == (2, 2, True, MIB)
    assert as_user(BOB, "cat", str(copy)).returncode == 0


def test_a_copy_is_read_only_for_its_owner_and_for_root(alice: Asker, data: Path) -> None:
    copy = alice.staged(source(data, mode=0o6755))
    assert copy.stat().st_mode & 0o7777 == 0o555
    for command in (["chmod", "777", str(copy)], ["touch", str(copy)], ["rm", str(copy)]):
        assert subprocess.run(command, capture_output=True, check=False).returncode == 1
        assert as_user(ALICE, *command).returncode == 1
    options = subprocess.check_output(["findmnt", "-no", "OPTIONS", "-T", str(copy)], text=True)
    assert {"ro", "nosuid", "nodev"} <= set(options.strip().split(","))


def test_a_private_source_has_a_private_copy(agent: AgentProcess, alice: Asker, bob: Asker, data: Path) -> None:
    path = source(data, mode=0o600)
    copy = alice.staged(path)
    assert "Permission denied" in bob.refused(path)
    assert "Permission denied" in as_user(BOB, "cat", str(copy)).stderr
    assert as_user(ALICE, "cmp", str(copy), str(path)).returncode == 0
    assert json.loads(bob.ask(op="stage_list")["json"]) == []


def test_a_source_below_a_private_folder_is_private(alice: Asker, bob: Asker, data: Path) -> None:
    folder = data / "home"
    folder.mkdir(mode=0o700)
    os.chown(folder, ALICE, ALICE)
    path = source(folder)
    copy = alice.staged(path)
    assert copy.parent.name.endswith(f"-{ALICE}")
    assert "Permission denied" in bob.refused(path)


def test_both_who_may_read_a_private_source_get_copies_of_their_own(
    alice: Asker, data: Path, agent: AgentProcess
) -> None:
    path = source(data, mode=0o600)
    copy = alice.staged(path)
    of_root = agent.ask(op="stage", path=str(path), wait=10, hold=0)["path"]
    assert Path(of_root).parent.name == copy.parent.name.replace(f"-{ALICE}", "-0")


def test_a_folder_with_everything_in_it(alice: Asker, data: Path) -> None:
    image = data / "image"
    (image / "bin").mkdir(parents=True)
    source(image, "bin/sh", mode=0o755)
    source(image, "bin/su", mode=0o4755)
    (image / "empty").touch()
    (image / "lib").symlink_to("bin/sh")
    (image / "out").symlink_to("/etc/shadow")
    with (image / "holes").open("wb") as file:
        file.truncate(16 * MIB)
    os.setxattr(image / "bin/sh", "user.test", b"x")
    os.link(image / "bin/sh", image / "bin/ash")
    copy = alice.staged(image)
    assert as_user(BOB, "diff", "-r", "--no-dereference", str(image), str(copy)).stdout == ""
    assert (copy / "bin/su").stat().st_mode & 0o7777 == 0o555
    assert os.readlink(copy / "out") == "/etc/shadow"
    assert os.listxattr(copy / "bin/sh") == []
    assert (copy / "holes").stat().st_blocks == 0
    assert alice.staged(image) == copy
    (image / "bin/new").touch()
    assert alice.staged(image) != copy


def test_a_changed_source_is_staged_anew(alice: Asker, data: Path) -> None:
    path = source(data)
    first = alice.staged(path)
    path.write_bytes(b"other" * 1000)
    second = alice.staged(path)
    assert second != first
    assert second.read_bytes() == path.read_bytes()
    assert first.exists()  # its holder still reads it


def test_the_same_content_under_another_name_is_one_copy(agent: AgentProcess, alice: Asker, data: Path) -> None:
    path = source(data)
    other = data / "same"
    other.write_bytes(path.read_bytes())
    other.chmod(0o644)
    assert alice.staged(path) == alice.staged(other)
    assert len(rows(agent)) == 1


def test_tierctl_adds_a_copy_and_says_where(agent: AgentProcess, data: Path) -> None:
    path = source(data)
    tierctl = [str(Path(sys.executable).with_name("tierctl")), "--agent", str(agent.socket), "stage", "add", str(path)]
    copy = subprocess.run(tierctl, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(copy).read_bytes() == path.read_bytes()
    told = json.loads(subprocess.run([*tierctl, "--json"], capture_output=True, text=True, check=True).stdout)
    assert [answer["path"] for answer in told.values()] == [copy]


# --- hostile and wrong requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["", "etc/passwd", "/etc/../etc/shadow", "/tmp/.", "/dev/null", "/dev/zero", "/proc/1/environ", "/nowhere",
             "/" + "x" * 5000, "/", "/etc/shadow", "/proc/self/root/etc/passwd", "/proc/self/fd/0"]
)  # fmt: skip
def test_paths_that_are_refused(agent: AgentProcess, alice: Asker, path: str) -> None:
    answer = alice.ask(op="stage", path=path, wait=5)
    assert answer["status"] == "refused"
    assert "can't be staged" in answer["reason"]
    assert rows(agent) == []


def test_a_path_with_a_nul(agent: AgentProcess) -> None:
    with socket.socket(socket.AF_UNIX) as peer:  # our own client would not send it
        peer.connect(str(agent.socket))
        peer.sendall(b"op=stage\npath=/etc/hostname%00/../shadow\n\n")
        answer = peer.recv(65536)
    assert answer.startswith(b"status=error\nreason=")
    assert b"NUL" in answer


def test_folders_that_are_refused(alice: Asker, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(data / "pipe")
    assert alice.refused(data) == f"{data} can't be staged: pipe in it is neither a file, a folder nor a link"
    (data / "pipe").unlink()
    (data / "/".join(["d"] * (MAX_DEPTH + 2))).mkdir(parents=True)
    assert f"is more than {MAX_DEPTH} folders deep" in alice.refused(data)
    monkeypatch.setattr("tierwise_node.staging.source.MAX_FILES", 10)  # 200,000 files would take seconds
    with pytest.raises(StageError, match="more than 10 files"):
        list(walk(os.open(data, os.O_RDONLY)))


def test_a_source_behind_a_link_is_what_its_reader_may_see(alice: Asker, data: Path) -> None:
    (data / "link").symlink_to("/etc/shadow")
    assert "Permission denied" in alice.refused(data / "link")
    good = source(data)
    (data / "link").unlink()
    (data / "link").symlink_to(good)
    assert alice.staged(data / "link").read_bytes() == good.read_bytes()


def test_another_file_in_the_callers_own_file_tree(alice: Asker, data: Path) -> None:
    status = source(data).stat()
    seen: dict[str, str | int] = {"device": status.st_dev, "inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    assert alice.stage(data / "image.sif", **seen)["status"] == "ok"
    assert "another file" in alice.refused(data / "image.sif", **{**seen, "inode": status.st_ino + 1})


@pytest.mark.parametrize("field", ["wait=-1", "wait=4000", "wait=x", "device=1;2", "inode=99999999999999999999"])
def test_numbers_that_are_none(alice: Asker, data: Path, field: str) -> None:
    key, _, value = field.partition("=")
    answer = alice.ask(op="stage", path=str(source(data)), **{key: value})
    assert answer["status"] == "refused"
    assert key in answer["reason"]


@pytest.mark.parametrize("uid", [(1 << 32) - 1, 1 << 62])
def test_a_uid_that_nobody_has(agent: AgentProcess, uid: int) -> None:
    for operation in ("prolog", "task", "stage_job"):
        with pytest.raises(RefusedError, match="uid must be less than"):
            agent.ask(op=operation, job_id=JOB, uid=uid, stage="/etc/hostname")


def test_anothers_copy_can_be_neither_dropped_nor_pinned(
    agent: AgentProcess, alice: Asker, bob: Asker, data: Path
) -> None:
    path = source(data)
    alice.staged(path)
    for question in ({"op": "stage_drop"}, {"op": "stage_pin", "pinned": 1}):
        assert "is yours" in bob.ask(path=str(path), **question)["reason"]
    assert "is held by" in alice.ask(op="stage_drop", path=str(path))["reason"]
    assert alice.ask(op="stage_pin", path=str(path), pinned=1)["status"] == "ok"
    assert rows(agent)[0]["pinned"]


def test_anothers_job(agent: AgentProcess, bob: Asker, cgroups: JobCgroups, data: Path) -> None:
    agent.ask(op="prolog", job_id=JOB, uid=ALICE, comment="", tier="cap", restart=0, scratch=MIB)
    for uid in (ALICE, BOB):
        answer = bob.ask(op="stage_job", job_id=JOB, uid=uid, stage=str(source(data)))
        assert answer["status"] == "refused"
    agent.ask(op="epilog", job_id=JOB, uid=ALICE)


PART = 16 * MIB


def test_a_hundred_requests_at_once_stay_within_the_quota(agent: AgentProcess, alice: Asker, data: Path) -> None:
    paths = [source(data, f"part{number}") for number in range(100)]
    for path in paths:
        os.truncate(path, PART)
    answers = alice.at_once([{"op": "stage", "path": str(path), "wait": 60} for path in paths])
    ready = [answer for answer in answers if answer.get("state") == "ready"]
    assert len({answer["path"] for answer in ready}) == QUOTA // 2 // PART
    assert all(
        "may take" in each["reason"] or "are being made" in each["reason"] for each in answers if each not in ready
    )
    assert sum(row["size"] for row in rows(agent)) == QUOTA // 2


# --- room -----------------------------------------------------------------------------------------------------------


def test_what_is_least_wanted_makes_room_and_what_is_held_stays(
    agent: AgentProcess, alice: Asker, bob: Asker, data: Path
) -> None:
    held, wanted, idle = (source(data, name, 40) for name in ("held", "wanted", "idle"))
    in_use = alice.staged(held)
    for path in (idle, wanted, wanted, wanted):
        alice.staged(path, hold=0)
    new = alice.staged(source(data, "new", 40))
    assert new.exists()
    assert in_use.read_bytes() == held.read_bytes()
    assert {Path(row["source"]).name for row in rows(agent)} == {"held", "wanted", "new"}
    assert "what is held stays" in alice.refused(source(data, "more", 60))
    assert bob.staged(source(data, "bobs", 60, uid=BOB))  # whose quota is his own
    assert "one user" in bob.refused(source(data, "large", QUOTA // MIB * 3 // 5, uid=BOB))


def test_a_full_tmpfs_is_said_and_leaves_nothing(agent: AgentProcess, alice: Asker, data: Path) -> None:
    alice.staged(source(data, "first"))
    filler = agent.folder / "stage/.work/dram/filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, QUOTA - 8 * MIB)
    try:
        assert "No space left" in alice.refused(source(data, "second", 32))
    finally:
        filler.unlink()
    assert unfinished(agent) == []
    assert len(rows(agent)) == 1


# --- while it is copied ---------------------------------------------------------------------------------------------


def unfinished(agent: AgentProcess) -> list[Path]:
    """What lies where copies are made."""
    return list((agent.folder / "stage/.work/dram/work").iterdir())


def copier(agent: AgentProcess) -> int:
    """The process that makes a copy, once it has written some and before it can have verified it: stopped."""

    def found() -> int:
        for child in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split():
            partial = [path / "data" for path in unfinished(agent)]
            if any(path.exists() and path.stat().st_size for path in partial):
                os.kill(int(child), signal.SIGSTOP)
                return int(child)
        return 0

    return until(found, "a copy to be under way")


@pytest.fixture
def copied(agent: AgentProcess, alice: Asker, data: Path) -> Iterator[tuple[Path, int, Future[dict[str, str]]]]:
    """A source that is being copied by a stopped process, and alice's answer to come."""
    alice.staged(source(data, "first"))  # so that the tmpfs is there
    path = source(data, "large", 100)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(alice.stage, path)
        yield path, copier(agent), answer
        answer.result()
    assert unfinished(agent) == []
    assert [Path(row["source"]).name for row in rows(agent)] == ["first"]
    assert len(list((agent.folder / "stage/dram/copies").iterdir())) == 1


def after(copied: tuple[Path, int, Future[dict[str, str]]], number: signal.Signals = signal.SIGCONT) -> str:
    """Why it was refused, once its process went on."""
    _, pid, answer = copied
    os.kill(pid, number)
    assert answer.result()["status"] == "refused"
    return answer.result()["reason"]


def test_nothing_half_staged_is_seen_or_reached(agent: AgentProcess, copied: Any) -> None:
    (row,) = [row for row in rows(agent) if row["copied"] < row["size"]]
    assert row["path"] == ""
    assert as_user(ALICE, "ls", str(agent.folder / "stage/dram/work")).returncode != 0
    assert as_user(ALICE, "ls", str(agent.folder / "stage/.work")).returncode != 0
    assert after(copied, signal.SIGKILL).endswith("was killed by signal 9")


def test_a_source_that_changes(copied: Any) -> None:
    with copied[0].open("r+b") as file:
        file.write(b"changed")
    assert "changed while it was being copied" in after(copied)


def test_a_source_that_grows(copied: Any) -> None:
    with copied[0].open("ab") as file:
        file.write(b"more")
    assert "while it was being copied" in after(copied)


def test_a_source_that_vanishes(copied: Any) -> None:
    copied[0].unlink()
    assert re.search("changed while it was being copied|No such file", after(copied))


def test_a_source_that_is_swapped_for_a_link(copied: Any) -> None:
    copied[0].rename(copied[0].with_name("aside"))
    copied[0].symlink_to("/etc/shadow")
    assert re.search("changed while it was being copied|Permission denied", after(copied))


def test_a_copy_whose_checksum_is_wrong(agent: AgentProcess, copied: Any) -> None:
    (folder,) = unfinished(agent)
    with (folder / "data").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert "checksum" in after(copied)


def test_a_copiers_user_can_not_look_into_it(copied: Any) -> None:
    for name in ("mem", "fd", "environ", "root"):
        assert as_user(ALICE, "ls", "-L", f"/proc/{copied[1]}/{name}/").returncode != 0
    after(copied, signal.SIGKILL)


def test_an_agent_killed_while_it_copies(node: str, data: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        Path(name).chmod(0o755)
        agent = AgentProcess(Path(name), node, {"stage": {"lease": 1.0}})
        agent.start()
        alice = Asker(agent, ALICE)
        whole = alice.staged(source(data))
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(alice.stage, source(data, "large", 100))
            pid = copier(agent)
            agent.end(signal.SIGKILL)
            until(lambda: not Path(f"/proc/{pid}").exists(), "the copying process to end with it")
            assert answer.result()["status"] == "refused"
        agent.start()
        (row,) = rows(agent)
        assert (row["path"], row["held"]) == (str(whole), 1)
        assert unfinished(agent) == []
        assert whole.read_bytes() == (data / "image.sif").read_bytes()
        alice.close()  # who held it: its lease has ended before anybody looks
        until(lambda: not rows(agent), "the lease to end", 30)
        assert not whole.exists()
        agent.end(signal.SIGTERM)
        assert name not in Path("/proc/self/mountinfo").read_text()


def test_a_node_reads_a_source_in_its_turn(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the decision service gives (tests/decision/test_decision_readers.py): it is asked again until then."""
    monkeypatch.setattr("tierwise_node.staging.turns.ASK_AGAIN", 0.0)
    told: list[str] = []

    async def ask(turn: ReadTurn) -> bool:
        told.append("done" if turn.done else "may I?")
        if told.count("may I?") == 5:
            raise UnavailableError("nobody counts")
        return len(told) == 3

    async def read_twice() -> None:
        seen = look(host_root(), str(source(data)), user(ALICE))
        for _ in range(2):
            async with Turns("n1", ask).reading(seen):
                told.append("reads")

    asyncio.run(read_twice())
    assert told == ["may I?", "may I?", "may I?", "reads", "done", "may I?", "may I?", "reads", "done"]


# --- jobs -----------------------------------------------------------------------------------------------------------


def test_a_job_finds_its_copies_and_its_scratch(agent: AgentProcess, cgroups: JobCgroups, data: Path) -> None:
    image, folder = source(data), data / "set"
    folder.mkdir()
    source(folder, "part")
    stage = f"{image},{folder},{data}/missing"
    agent.ask(op="prolog", job_id=JOB, uid=ALICE, comment="", tier="", restart=0, stage=stage, scratch=2 * MIB)
    answer = agent.ask(op="stage_job", job_id=JOB, uid=ALICE, stage=stage, stage_wait=60, scratch=2 * MIB)
    links, scratch = Path(answer["stage"]), Path(answer["scratch"])
    assert "missing can't be staged: No such file" in answer["notice"]
    assert os.readlink(links / "image.sif").startswith(f"{agent.folder}/stage/")
    assert os.readlink(links / "missing") == f"{data}/missing"
    assert as_user(ALICE, "cmp", str(links / "set/part"), str(folder / "part")).returncode == 0
    assert as_user(BOB, "ls", str(links)).returncode != 0
    assert as_user(BOB, "ls", str(scratch)).returncode != 0
    assert as_user(ALICE, "dd", "if=/dev/zero", f"of={scratch}/x", "bs=1M", "count=2").returncode == 0
    assert "No space left" in as_user(ALICE, "dd", "if=/dev/zero", f"of={scratch}/y", "bs=1M", "count=1").stderr
    assert {row["held"] for row in rows(agent)} == {1}
    agent.ask(op="epilog", job_id=JOB, uid=ALICE)
    assert not scratch.exists()
    assert not links.exists()
    assert [row["held"] for row in rows(agent)] == [0, 0]


def test_a_job_whose_epilogs_message_is_lost_ends_by_its_mark(agent: AgentProcess) -> None:
    mark = agent.folder / f"state/ended/{LOST}"
    for restart in (0, 1):  # the second run begins before anybody has looked for the first one's mark
        agent.ask(op="prolog", job_id=LOST, uid=ALICE, comment="", tier="cap", restart=restart, scratch=MIB)
        scratch = Path(agent.ask(op="stage_job", job_id=LOST, uid=ALICE, scratch=MIB)["scratch"])
        assert list(scratch.iterdir()) == []
        (scratch / "left").touch()
        mark.touch()
    until(lambda: not scratch.exists() and not mark.exists(), "the job to be ended by its mark", 30)
    assert [report["end"] for report in agent.reports() if report["key"]["job_id"] == LOST] == ["epilog", "epilog"]
    agent.end(signal.SIGKILL)
    mark.touch()
    agent.start()
    until(lambda: not mark.exists(), "a mark from before the agent's start to be found", 30)


def test_a_job_waits_no_longer_than_it_said(agent: AgentProcess, alice: Asker, data: Path) -> None:
    alice.staged(source(data, "first"))
    large = source(data, "large", 100)
    agent.ask(op="prolog", job_id=JOB, uid=ALICE, comment="", tier="", restart=0, stage=str(large), stage_wait=0)
    pid = copier(agent)
    answer = agent.ask(op="stage_job", job_id=JOB, uid=ALICE, stage=str(large), stage_wait=0)
    link = Path(answer["stage"]) / "large"
    assert "originals are read" in answer["notice"]
    assert os.readlink(link) == str(large)
    os.kill(pid, signal.SIGCONT)
    until(lambda: os.readlink(link) != str(large), "the copy to take the source's place")
    agent.ask(op="epilog", job_id=JOB, uid=ALICE)


def test_scratch_is_part_of_the_jobs_memory_and_of_its_plan(agent: AgentProcess, cgroups: JobCgroups) -> None:
    agent.ask(op="prolog", job_id=JOB, uid=ALICE, comment="", tier="cap", restart=0, scratch=8 * MIB)
    cgroups.make(JOB)
    agent.ask(op="task", job_id=JOB, step=0, uid=ALICE, tier="cap", mem=100 * MIB)
    plan = agent.job(JOB)["plan"]
    assert sum(part["size"] for part in plan["parts"]) == 92 * MIB
    assert plan["granted"] == {"dram": 8 * MIB}
    cgroups.remove(JOB)
    agent.ask(op="epilog", job_id=JOB, uid=ALICE)


def test_a_scratch_that_can_not_be(agent: AgentProcess) -> None:
    agent.ask(op="prolog", job_id=JOB, uid=ALICE, comment="", tier="", restart=0, scratch=1 << 49)
    answer = agent.ask(op="stage_job", job_id=JOB, uid=ALICE, scratch=1 << 49)
    assert answer["scratch"] == ""
    assert "--tier-scratch" in answer["notice"]
    with pytest.raises(RefusedError):
        agent.ask(op="stage_job", job_id=JOB, uid=ALICE, scratch=-1)
    agent.ask(op="epilog", job_id=JOB, uid=ALICE)

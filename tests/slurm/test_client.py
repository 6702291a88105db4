"""The Slurm client, on what real Slurms of three releases answered (record.py)."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tierwise.slurm import Capacity, SlurmError, SlurmJob
from tierwise.units import MIB
from tierwise_slurm import values
from tierwise_slurm.client import Client
from tierwise_slurm.opening import of
from tierwise_slurm.releases import Slurm2205, Slurm2411, Slurm2605, adapter

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
SEPARATOR = re.compile(r"x[0-9a-f]{24}")


class Replay:
    """A Slurm that answers as it did; each question as the last time it was asked."""

    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text())
        self.jobs: dict[str, int] = told["jobs"]
        self.held: int = told["held"]
        self.release: str = told["release"]
        self._answers: dict[tuple[str, ...], dict[str, Any]] = {}
        for call in told["calls"]:
            self._answers[_normal(call["argv"])] = call

    def __call__(self, argv: Sequence[str]) -> str:
        if argv[0] == "slurmctld":
            raise SlurmError("a host without a controller was recorded")
        call = self._answers[_normal(argv)]
        if call["status"]:
            raise SlurmError("as recorded")
        asked, told = (SEPARATOR.search(" ".join(words)) for words in (argv, call["argv"]))
        output: str = call["output"]
        return output.replace(told[0], asked[0]) if asked and told else output

    @property
    def accounted(self) -> Sequence[str] | None:
        """The question to sacct, where accounting was recorded."""
        return next((argv for argv in self._answers if argv[0] == "sacct"), None)


def _normal(argv: Sequence[str]) -> tuple[str, ...]:
    return tuple(re.sub(r"--starttime=\S+", "--starttime=", SEPARATOR.sub("", word)) for word in argv)


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def replay(request: pytest.FixtureRequest) -> Replay:
    return Replay(request.param)


@pytest.fixture
def client(replay: Replay) -> Client:
    return of(replay)


def test_the_controller_says_its_release_without_a_configuration() -> None:
    """Where slurm.conf can't be reached, every other program would be waited for."""

    def run(argv: Sequence[str]) -> str:
        assert argv == ["slurmctld", "-V"]
        return "slurm 24.11.5\n"

    assert type(of(run)) is Slurm2411


def test_three_releases_were_recorded() -> None:
    assert [path.stem for path in RECORDED] == ["22.05", "24.11", "26.05"]


def test_its_release_is_found(client: Client, replay: Replay) -> None:
    assert client.version() == replay.release
    assert type(client) is adapter(replay.release)


def test_releases_without_an_adapter_take_the_one_before() -> None:
    found = {
        version: adapter(version) for version in ("22.05.8", "23.02.1", "24.11.5", "25.11.0", "26.05.5", "27.11.0")
    }
    assert list(found.values()) == [Slurm2205, Slurm2205, Slurm2411, Slurm2411, Slurm2605, Slurm2605]
    assert adapter("") is Slurm2205


ENDS = {
    "well": ("COMPLETED", 0, 0, 100),
    "nasty": ("COMPLETED", 0, 0, 100),
    "fails": ("FAILED", 7, 0, 100),
    "signal": ("FAILED", 0, 11, 100),
    "two nodes": ("COMPLETED", 0, 0, 150),
}


@pytest.mark.parametrize("name", ENDS)
def test_how_jobs_end(client: Client, replay: Replay, name: str) -> None:
    job = client.job(replay.jobs[name])
    assert job is not None
    assert (job.state, job.exit_code, job.exit_signal, job.memory // MIB) == ENDS[name]
    assert job.job_id == replay.jobs[name]
    assert (job.uid > 0, job.restarts, job.requeue, job.batch) == (True, 0, True, True)
    assert 0 < job.submitted <= job.started <= job.ended
    assert job.nodes == (2 if name == "two nodes" else 1)
    assert job.time_limit == (600 if name == "signal" else 3600)
    assert (job.per_cpu, job.cpus) == ((True, 2) if name == "signal" else (False, job.cpus))


def test_several_jobs_are_asked_about_at_once(replay: Replay) -> None:
    asked: list[str] = []

    def run(argv: Sequence[str]) -> str:
        """squeue's answer about several jobs: those about each, one after the other."""
        (wanted,) = (word for word in argv if word.startswith("--jobs="))
        asked.append(wanted)
        ids = dict.fromkeys(wanted.removeprefix("--jobs=").split(","))
        return "".join(replay([f"--jobs={one}" if word == wanted else word for word in argv]) for one in ids)

    client = Client(run, "22.05.8")
    fails, signal = (replay.jobs[name] for name in ("fails", "signal"))
    assert [job.job_id for job in client.jobs([fails, signal])] == [fails, signal]
    assert [job.state for job in client.jobs([fails])] == ["FAILED"]
    assert asked == [f"--jobs={fails},{signal}", f"--jobs={fails},{fails}"], (
        "about one that it forgot squeue would fail"
    )


def test_memory_that_was_not_enough(client: Client, replay: Replay) -> None:
    """Where the recording had cgroups: a chroot has none, and its job ends well."""
    job, step = client.job(replay.jobs["memory"]), client.job(replay.jobs["step"])
    assert job is not None
    assert step is not None
    assert (job.requeue, step.requeue) == (False, True)
    if replay.release.startswith("22.05"):
        assert (job.state, job.exit_signal) == ("OUT_OF_MEMORY", 125)
        assert (step.state, step.derived_signal) == ("COMPLETED", 125)


def test_a_users_words_are_not_believed(client: Client, replay: Replay) -> None:
    job = client.job(replay.jobs["nasty"])
    assert job is not None
    assert job.name == "nasty x UserId=root(0) JobState=COMPLETED Restarts=9"
    assert job.comment.startswith("x UserId=root(0)")
    assert job.comment.endswith("tierwise=0123456789abcdef")
    assert job.work_dir == "/tmp"


def test_array_tasks_are_told_apart(client: Client, replay: Replay) -> None:
    last = client.job(replay.jobs["array"])
    assert last is not None
    assert last.array_id == replay.jobs["array"]
    assert last.target == f"{last.array_id}_{last.array_task}"


def test_scripts_and_partitions(client: Client, replay: Replay) -> None:
    assert client.script(replay.jobs["fails"]) == "#!/bin/sh\nexit 7\n"
    capacity = client.capacity("main")
    assert sum(count for count, _, _ in capacity.nodes) == 2
    assert capacity.time_limit == 3600
    assert capacity.largest(2) == 4000 * MIB
    assert capacity.largest(3) == 0


def test_accounting(client: Client, replay: Replay) -> None:
    assert client.accounted() == (replay.accounted is not None)
    if replay.accounted is None:
        return
    ended = {job.job_id: job for job in client.ended(0)}
    assert {ended[replay.jobs[name]].state for name in ("well", "nasty")} == {"COMPLETED"}
    assert (ended[replay.jobs["fails"]].exit_code, ended[replay.jobs["signal"]].exit_signal) == (7, 11)
    assert ended[replay.jobs["memory"]].state == "OUT_OF_MEMORY"
    assert ended[replay.jobs["cancelled"]].state == "CANCELLED"
    assert ended[replay.jobs["memory"]].memory == 100 * MIB
    assert ended[replay.jobs["signal"]].memory == 100 * MIB
    assert ended[replay.jobs["two nodes"]].memory == 150 * MIB
    assert ended[replay.jobs["two nodes"]].peak > 0
    assert ended[replay.jobs["nasty"]].uid > 0
    assert ended[replay.jobs["well"]].time_limit == 3600


def test_a_changed_job_that_waits(client: Client, replay: Replay) -> None:
    held = client.job(replay.held)
    assert held is not None
    assert (held.state, held.memory, held.time_limit, held.started) == ("PENDING", 200 * MIB, 600, held.started)


def test_what_an_update_writes() -> None:
    told: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> str:
        told.append(argv[2:])
        return ""

    client = Client(run, "22.05.8")
    job = SlurmJob(job_id=10, uid=1, state="PENDING", array_id=8, array_task=2)
    client.update(job, memory=200 * MIB, seconds=601, gres="tier_dram:200", now=True)
    assert told == [
        ["JobId=8_2", "MinMemoryNode=200", "TimeLimit=11", "Gres=tier_dram:200", "StartTime=now"],
    ]
    client.update(job)
    assert len(told) == 1


def test_scripts_by_pyslurm_where_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pyslurm, which can't be installed here: it is for Slurm 25.11 alone."""

    class Job:
        def __init__(self, job_id: int) -> None:
            self.job_id = job_id

        def get_batch_script(self) -> str:
            if self.job_id == 1:
                raise RuntimeError("pyslurm.RPCError")
            return f"#!/bin/sh\n# {self.job_id}\n"

    def run(argv: Sequence[str]) -> str:
        return "slurm 25.11.0" if argv[0] == "sinfo" else "by scontrol"

    monkeypatch.setitem(sys.modules, "pyslurm", types.SimpleNamespace(Job=Job))
    assert [of(run).script(job_id) for job_id in (1, 2)] == ["by scontrol", "#!/bin/sh\n# 2\n"]
    monkeypatch.setitem(sys.modules, "pyslurm", None)
    assert of(run).script(2) == "by scontrol"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30:00", 1800), ("1:00:00", 3600), ("2-00:00:01", 172801), ("UNLIMITED", 0), ("INVALID", 0), ("", 0)],
)
def test_time_spans(text: str, seconds: int) -> None:
    assert values.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("300M", 300), ("1.50G", 1536), ("100", 100), ("2048K", 2), ("0", 0), ("?", 0), ("", 0)]
)
def test_sizes(text: str, size: int) -> None:
    assert values.size(text) == size * MIB


def test_a_partition_of_unequal_nodes() -> None:
    unequal = ((3, 10, 64), (1, 50, 8))
    assert [Capacity(unequal).largest(nodes) for nodes in (1, 2, 4, 5)] == [50, 10, 10, 0]
    assert [Capacity(unequal).largest(nodes, cpus=9) for nodes in (1, 3, 4)] == [10, 10, 0]
    assert Capacity(unequal, most_memory=20).largest(1) == 20

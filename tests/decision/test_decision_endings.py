"""What slurmctld's scripts tell of jobs that end, told to a real service beside which no Slurm runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from decision_service import ALICE, BOB, Service, eventually, job_report

from tierwise.config import Config, ServiceConfig
from tierwise.errors import RefusedError
from tierwise.local import ask
from tierwise.slurm import SlurmError, SlurmJob
from tierwise_decision import endings, history
from tierwise_decision.core import Core
from tierwise_decision.endings import Endings
from tierwise_decision.settings import Settings

NOW = int(time.time())


def told(service: Service, job_id: int, **fields: str | int) -> dict[str, str]:
    """Tell of an end as jobcomp/script does."""
    tale: dict[str, str | int] = {
        "op": "ended", "job_id": job_id, "uid": ALICE, "state": "OUT_OF_MEMORY", "started": NOW - 60, "ended": NOW,
        "nodes": 1, "node_list": "n1", "partition": "main", "job_name": "j", "exit_code": 0, "exit_signal": 125,
    }  # fmt: skip
    return ask(str(service.hook), tale | fields, 5)


def test_a_run_is_kept_and_told_to_its_user(fresh_service: Service) -> None:
    service = fresh_service
    assert told(service, 7)["status"] == "ok"
    assert told(service, 7)["status"] == "ok"
    assert told(service, 7, started=NOW - 10, state="COMPLETED", exit_signal=0)["status"] == "ok"
    view = service.client(ALICE).job(7)
    assert [(one.state, one.cause) for one in view.attempts] == [("OUT_OF_MEMORY", "memory"), ("COMPLETED", "well")]
    assert view.state == "ended"
    assert {one.nodes for one in view.attempts} == {"n1"}
    with pytest.raises(RefusedError):
        service.client(BOB).job(7)

    service.stop()
    service.start()
    assert len(eventually(lambda: service.client(ALICE).job(7)).attempts) == 2


def test_agents_add_what_they_saw(service: Service) -> None:
    service.client().report(job_report(8))
    told(service, 8)
    (run,) = eventually(lambda: [one for one in service.client(ALICE).job(8).attempts if one.peak])
    assert run.peak == job_report(8).peak


def test_another_users_job_of_the_same_number_is_not_shown(service: Service) -> None:
    told(service, 9, uid=BOB)
    service.client().report(job_report(9))
    assert service.client(ALICE).job(9).attempts == ()


@pytest.mark.parametrize(
    "harm",
    [
        {"ended": time.time_ns() + 3600 * 10**9},
        {"agreed": 2.0},
        {"gaps": -1.0},
        {"peak": -1},
        {"node": "../../etc"},
    ],
)
def test_reports_that_cannot_be_true_are_refused_and_counted(service: Service, harm: dict[str, object]) -> None:
    before = service.counted(junk := 'tierwise_complaints_total{kind="http_junk"}')
    with pytest.raises(RefusedError) as refused:
        service.client().report(job_report(11, **harm))
    assert refused.value.status == 400
    assert service.counted(junk) == before + 1
    with pytest.raises(RefusedError):
        service.client().job(11)


@pytest.mark.parametrize(
    "fields",
    [{"job_id": "x"}, {"job_id": -1}, {"started": ""}, {"started": 1 << 40}, {"uid": ""}, {"state": "S" * 100}],
)
def test_junk_is_refused(service: Service, fields: dict[str, str | int]) -> None:
    with pytest.raises(RefusedError):
        told(service, **({"job_id": 10} | fields))  # type: ignore[arg-type]
    with pytest.raises(RefusedError):
        service.client(ALICE).job(10)


@pytest.mark.parametrize("job_id", ["", "x", "-1", "9" * 30])
def test_a_question_about_no_job(service: Service, job_id: str) -> None:
    with pytest.raises(RefusedError):
        ask(str(service.hook), {"op": "ending", "job_id": job_id}, 20)
    assert service.submit("cap")["status"] == "ok"


class ThreeJobs:
    """A Slurm that does not answer at first, and then knows three of the jobs that are asked about."""

    def __init__(self) -> None:
        self.asked: list[Sequence[int]] = []
        ended = SlurmJob(job_id=1, uid=ALICE, state="COMPLETED", started=NOW * 10**9, ended=NOW * 10**9, batch=False)
        self.known = {
            1: ended,
            2: msgspec.structs.replace(ended, job_id=2, state="PENDING", restarts=1),
            3: msgspec.structs.replace(ended, job_id=3, state="COMPLETING"),
        }

    def jobs(self, ids: Sequence[int]) -> Sequence[SlurmJob]:
        self.asked.append(ids)
        if len(self.asked) == 1:
            raise SlurmError("no answer")
        return [self.known[job_id] for job_id in ids if job_id in self.known]

    def job(self, job_id: int, target: str = "") -> SlurmJob | None:
        return self.known.get(job_id)


def test_the_list_of_jobs_that_ended_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked about together, again where Slurm is silent or a job is not final; a run that is gone is not made up."""
    monkeypatch.setattr(endings, "EVERY", 0.02)
    listed = tmp_path / "ended"
    listed.write_bytes(b"1 0 n1\n2 0 n2\n3 0 n[1-3]\nx\n\xff 0 n1\n4 0 n4\n")

    async def follow() -> dict[int, list[str]]:
        core = Core(Settings(Config(service=ServiceConfig(database=f"sqlite:///{tmp_path}/db", spool=f"{tmp_path}/s"))))
        slurm = ThreeJobs()
        writer = asyncio.create_task(core.store.run())
        following = asyncio.create_task(Endings(slurm, core.history, core.complain, listed).run())  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            while not await core.history.attempts(1):
                await asyncio.sleep(0.02)
            slurm.known[3] = msgspec.structs.replace(slurm.known[3], state="COMPLETED")
            while not await core.history.attempts(3):
                await asyncio.sleep(0.02)
            found = {job: [one.node_list for one in await core.history.attempts(job)] for job in range(1, 5)}
            following.cancel()
            core.store.close()
            await writer
        assert slurm.asked[:2] == [(1, 2, 3, 4)] * 2
        assert slurm.asked[-1] == (3,)
        return found

    assert asyncio.run(follow()) == {1: ["n1"], 2: [], 3: ["n[1-3]"], 4: []}
    assert not listed.exists()


class Accounting:
    """A Slurm with slurmdbd: of one run nobody told us, of the other one nobody saw what it held."""

    def __init__(self, *runs: SlurmJob) -> None:
        self.runs = runs

    def accounted(self) -> bool:
        return True

    def ended(self, since: int) -> Sequence[SlurmJob]:
        return [run for run in self.runs if run.ended >= since]


def test_slurmdbd_tells_of_what_nobody_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_ACCOUNT_EVERY", 0.02)
    told = SlurmJob(job_id=1, uid=ALICE, state="COMPLETED", started=NOW * 10**9, ended=NOW * 10**9, batch=False)
    untold = msgspec.structs.replace(told, job_id=2, state="TIMEOUT", peak=7)

    async def follow() -> dict[int, list[tuple[str, int]]]:
        core = Core(Settings(Config(service=ServiceConfig(database=f"sqlite:///{tmp_path}/db", spool=f"{tmp_path}/s"))))
        slurm = Accounting(msgspec.structs.replace(told, peak=5), untold)
        runs = history.History(slurm, core.store, core.complain)  # type: ignore[arg-type]
        runs.ended(told)
        tasks = [asyncio.create_task(core.store.run()), asyncio.create_task(runs.follow_accounting())]
        async with asyncio.timeout(60):
            for job_id in (1, 2):
                while not any(one.peak for one in await runs.attempts(job_id)):
                    await asyncio.sleep(0.02)
            found = {job: [(one.state, one.peak) for one in await runs.attempts(job)] for job in (1, 2)}
        tasks[1].cancel()
        core.store.close()
        await tasks[0]
        return found

    assert asyncio.run(follow()) == {1: [("COMPLETED", 5)], 2: [("TIMEOUT", 7)]}

"""Requeues where Slurm is so slow that its commands time out: no job is lost, and what happened is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from decision_service import ALICE

from tierwise.config import Config, ServiceConfig
from tierwise.slurm import Capacity, SlurmError, SlurmJob
from tierwise.units import GIB, MIB
from tierwise_decision import failures
from tierwise_decision.core import Core
from tierwise_decision.failures import Failures
from tierwise_decision.requested import Requested
from tierwise_decision.runs import EndedJob
from tierwise_decision.settings import Settings

TOKEN = "0123456789abcdef"
SECOND = 10**9


class SlowSlurm:
    """A Slurm with one job that ran out of memory. `lost` commands fail: with their effect, or without."""

    def __init__(self, *, lost: Sequence[str] = (), effect: bool = False) -> None:
        self.lost, self.effect = list(lost), effect
        self.one = SlurmJob(
            job_id=7, uid=ALICE, state="OUT_OF_MEMORY", reason="OutOfMemory", requeue=True, memory=100 * MIB,
            started=time.time_ns() - 10 * SECOND, ended=time.time_ns(), comment=f"tierwise={TOKEN}",
        )  # fmt: skip
        self.released = False

    def version(self) -> str:
        return "22.05.8"

    def job(self, job_id: int, target: str = "") -> SlurmJob | None:
        return self.one

    def jobs(self, ids: Sequence[int]) -> Sequence[SlurmJob]:
        return [self.one]

    def script(self, job_id: int) -> str:
        return "#!/bin/sh\n"

    def capacity(self, partition: str) -> Capacity:
        return Capacity(((1, 4 * GIB, 2),))

    def requeue(self, job: SlurmJob) -> None:
        self._change("requeue", state="PENDING", restarts=1)

    def update(self, job: SlurmJob, *, memory: int = 0, seconds: int = 0, gres: str = "", now: bool = False) -> None:
        self.released |= now
        self._change("update", **({"memory": memory} if memory else {}))

    def accounted(self) -> bool:
        return False

    def ended(self, since: int) -> Sequence[SlurmJob]:
        return ()

    def _change(self, command: str, **changes: object) -> None:
        fails = command in self.lost
        if fails:
            self.lost.remove(command)
        if not fails or self.effect:
            self.one = msgspec.structs.replace(self.one, **changes)
        if fails:
            raise SlurmError(f"scontrol {command}: no answer within 10 s")


def mended(slurm: SlowSlurm, folder: Path, over: Callable[[EndedJob], bool]) -> EndedJob:
    """The run, once its job's end was told to a service without sockets, and `over` is true."""

    async def tell() -> EndedJob:
        core = Core(Settings(Config(service=ServiceConfig(database=f"sqlite:///{folder}/db", spool=f"{folder}/spool"))))
        writer = asyncio.create_task(core.store.run())
        core.requests.add(
            Requested(
                token=TOKEN, time=1, uid=ALICE, directive="", memory=100 * MIB, memory_from="user", whole_node=False,
                partition="", nodes=1, launch="sbatch", job_name="", account="", gres="", notice="", retry=2,
            )
        )  # fmt: skip
        manager = Failures(slurm, core.requests, core.history, lambda request, memory: "", core.complain)
        await manager.ending({"job_id": "7"})
        async with asyncio.timeout(60):
            while not over(run := (await core.history.attempts(7))[0]):
                await asyncio.sleep(0.02)
            core.store.close()
            await writer
        return run

    return asyncio.run(tell())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_LOOK", 0.02)


@pytest.mark.parametrize("effect", [True, False], ids=["had its effect", "had none"])
@pytest.mark.parametrize("lost", [["requeue"], ["update"], ["requeue", "update"]])
def test_a_command_without_an_answer(lost: list[str], effect: bool, tmp_path: Path) -> None:
    """The job comes back with its larger request, whatever was lost."""
    slurm = SlowSlurm(lost=lost, effect=effect)
    run = mended(slurm, tmp_path, lambda _: slurm.released)
    assert (slurm.one.restarts, slurm.one.memory) == (1, 200 * MIB)
    assert (run.retried, run.next_memory) == (True, 200 * MIB)
    assert "retry 1 of 2), but not wholly yet: scontrol" in run.action


def test_too_late_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "IN_TIME", 0.0)
    slurm = SlowSlurm()
    assert "too late for jobs that depend on it" in mended(slurm, tmp_path, lambda _: slurm.released).action


def test_a_job_that_is_cancelled_meanwhile_stays_cancelled(tmp_path: Path) -> None:
    slurm = SlowSlurm(lost=["requeue"])
    asked = slurm.capacity

    def cancelled(partition: str) -> Capacity:
        slurm.one = msgspec.structs.replace(slurm.one, state="CANCELLED")
        return asked(partition)

    slurm.capacity = cancelled  # type: ignore[method-assign]
    run = mended(slurm, tmp_path, lambda run: not run.retried)
    assert slurm.one.restarts == 0
    assert run.action == "not requeued: scontrol requeue: no answer within 10 s"

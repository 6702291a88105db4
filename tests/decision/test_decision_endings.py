"""What slurmctld's scripts tell of jobs that end, told to a real service beside which no Slurm runs."""

from __future__ import annotations

import time

import pytest
from decision_service import ALICE, BOB, Service, eventually, job_report

from tierwise.errors import RefusedError
from tierwise.local import ask

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

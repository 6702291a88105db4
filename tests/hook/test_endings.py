"""What slurmctld runs at a job's end: what it tells the service, and that nothing makes it fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_hook_service import Behaviour, half, junk, listening
from test_prolog import agrees, installed, run

EPILOG = {b"SLURM_ARRAY_JOB_ID": b"40", b"SLURM_ARRAY_TASK_ID": b"2", b"SLURM_JOB_NODELIST": b"n[1-2]"}
JOBCOMP = {
    b"JOBID": b"42", b"UID": b"1000", b"JOBSTATE": b"OUT_OF_MEMORY", b"START": b"1795403195", b"END": b"1795403197",
    b"NODECNT": b"2", b"NODES": b"n[1-2]", b"PARTITION": b"main", b"JOBNAME": b"a b\nop=ending", b"EXITCODE": b"0:125",
    b"ARRAYJOBID": b"0", b"ARRAYTASKID": b"4294967294",
}  # fmt: skip
TOLD = {
    "epilog_slurmctld": (
        EPILOG,
        {"op": "ending", "job_id": "42", "array_job": "40", "array_task": "2", "node_list": "n[1-2]"},
    ),
    "jobcomp": (
        JOBCOMP,
        {
            "op": "ended", "job_id": "42", "uid": "1000", "state": "OUT_OF_MEMORY", "started": "1795403195",
            "ended": "1795403197", "nodes": "2", "node_list": "n[1-2]",
            "partition": "main", "job_name": "a b\nop=ending", "array_job": "0",
            "array_task": "4294967294", "exit_code": "0", "exit_signal": "125",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("script", TOLD)
def test_it_tells_the_service(script: str, tmp_path: Path) -> None:
    environment, message = TOLD[script]
    with listening(tmp_path / "hook.sock", agrees) as asked:
        done = run(installed(script, tmp_path), more=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert asked == [message]


@pytest.mark.parametrize("script", TOLD)
@pytest.mark.parametrize("behaviour", [half, junk])
def test_a_service_that_is_no_use(script: str, behaviour: Behaviour, tmp_path: Path) -> None:
    with listening(tmp_path / "hook.sock", behaviour):
        done = run(installed(script, tmp_path))
    assert done.returncode == 0
    assert b"tierwise: end" in done.stderr


@pytest.mark.parametrize("script", TOLD)
def test_nobody_is_there(script: str, tmp_path: Path) -> None:
    assert run(installed(script, tmp_path)).returncode == 0


WELL = {b"SLURM_JOB_EXIT_CODE2": b"0:0", b"SLURM_JOB_NODELIST": b"n[1-2]"}


@pytest.mark.parametrize(
    ("more", "listed"),
    [({}, True), ({b"SPANK_TIER_RETRY": b"1"}, False), ({b"SLURM_JOB_EXIT_CODE2": b"0:125"}, False)],
)
def test_who_ended_well_and_wants_no_retry_is_only_listed(
    more: dict[bytes, bytes], listed: bool, tmp_path: Path
) -> None:
    script = installed("epilog_slurmctld", tmp_path)
    with listening(tmp_path / "hook.sock", agrees) as asked:
        done = run(script, more=WELL | more)
    assert (done.returncode, done.stderr, len(asked)) == (0, b"", 0 if listed else 1)
    assert (tmp_path / "ended").exists() == listed
    if listed:
        assert (tmp_path / "ended").read_text() == "42 3 n[1-2]\n"


def test_a_list_that_cannot_be_written_keeps_nothing_from_the_service(tmp_path: Path) -> None:
    (tmp_path / "ended").mkdir()
    with listening(tmp_path / "hook.sock", agrees) as asked:
        done = run(installed("epilog_slurmctld", tmp_path), more=WELL)
    assert (done.returncode, done.stderr, len(asked)) == (0, b"", 1)

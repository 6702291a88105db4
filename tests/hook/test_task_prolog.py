"""The task prolog alone: what it prints for each kind of job. On a real Slurm: native/test_task_environment.py."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "slurm_plugin/task_prolog"
JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "n[1-3]",
    "SLURM_TASKS_PER_NODE": "2(x2),1",
    "SLURM_NTASKS": "5",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


@pytest.fixture
def scontrol(tmp_path: Path) -> str:
    """A PATH with a scontrol that knows one list of hosts."""
    command = tmp_path / "scontrol"
    command.write_text('#!/bin/sh\n[ "$3" = "n[1-3]" ] && printf "n1\\nn2\\nn3\\n" || exit 1\n')
    command.chmod(0o755)
    return f"{tmp_path}:/usr/bin:/bin"


def told(path: str, **environment: str) -> dict[str, str]:
    done = subprocess.run([str(SCRIPT)], env={"PATH": path, **environment}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = [line.removeprefix("export ") for line in done.stdout.splitlines()]
    return dict(line.split("=", 1) for line in lines)


def test_jobs_that_did_not_ask_get_nothing(scontrol: str) -> None:
    assert told(scontrol, **JOB) == {}
    assert told(scontrol, SLURM_SPANK_TIER_ENV="junk; rm -rf", **JOB) == {}


def test_torch(scontrol: str) -> None:
    assert told(scontrol, SLURM_SPANK_TIER_ENV="torch", **JOB) == {
        "MASTER_ADDR": "n1",
        "MASTER_PORT": "24711",
        "WORLD_SIZE": "5",
        "RANK": "3",
        "LOCAL_RANK": "1",
    }


def test_what_the_user_has_set_stays(scontrol: str) -> None:
    found = told(scontrol, SLURM_SPANK_TIER_ENV="torch", MASTER_PORT="29500", **JOB)
    assert "MASTER_PORT" not in found
    assert found["MASTER_ADDR"] == "n1"


@pytest.mark.parametrize(
    ("distribution", "workers"),
    [
        ("block", ["n1:24711", "n1:24712", "n2:24711", "n2:24712", "n3:24711"]),
        ("cyclic:block", ["n1:24711", "n2:24711", "n3:24711", "n1:24712", "n2:24712"]),
    ],
)
def test_tensorflow_workers_are_in_the_order_of_ranks(scontrol: str, distribution: str, workers: list[str]) -> None:
    found = told(scontrol, SLURM_SPANK_TIER_ENV="tf", SLURM_DISTRIBUTION=distribution, **JOB)
    assert json.loads(found["TF_CONFIG"]) == {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": 3},
    }


def test_without_scontrol_the_task_starts_all_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(SCRIPT)],
        env={"PATH": str(tmp_path), "SLURM_SPANK_TIER_ENV": "tf", **JOB, "SLURM_JOB_NODELIST": "no[such"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")

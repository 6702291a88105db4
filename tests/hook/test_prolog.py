"""Prolog and epilog: what they tell the agent, and that nothing makes them fail or wait."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from test_hook_service import Behaviour, half, junk, listening, silence

from tierwise.lines import encode

PLUGIN = Path(__file__).parents[2] / "slurm_plugin"
COMMENTS = [
    b"",
    b"my run tierwise=0123456789abcdef",
    b"a=b\nop=epilog\n\n%00 'quoted' \"too\" $(id)",
    "größer 数".encode(),
]


def installed(script: str, folder: Path) -> Path:
    """The script as `make install` leaves it, but for where things lie."""
    text = (PLUGIN / script).read_text().replace("/usr/lib/tierwise", str(PLUGIN))
    text = text.replace("/var/lib/tierwise", str(folder))
    path = folder / script
    path.write_text(text.replace("/run/tierwise", str(folder)))
    path.chmod(0o755)
    return path


def run(
    script: Path, comment: bytes = b"", more: Mapping[bytes, bytes] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run it with nothing in the environment but what slurmd gives: there is no PATH."""
    environment = {
        b"SLURMD_NODENAME": b"n1",
        b"SLURM_JOB_ID": b"42",
        b"SLURM_JOB_UID": b"1000",
        b"SLURM_JOB_COMMENT": comment,
        b"SLURM_JOB_RESTART_COUNT": b"3",
        b"SPANK_TIER": b"lat:64M,cap",
        **(more or {}),
    }
    return subprocess.run([script], check=False, env=environment, capture_output=True, timeout=30)


def agrees(peer: object, question: dict[str, str]) -> None:
    peer.sendall(encode({"status": "ok"}))  # type: ignore[attr-defined]


@pytest.mark.parametrize("comment", COMMENTS)
def test_the_prolog_tells_the_agent(comment: bytes, tmp_path: Path) -> None:
    with listening(tmp_path / "agent-n1.sock", agrees) as asked:
        done = run(installed("prolog", tmp_path), comment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert asked == [
        {
            "op": "prolog",
            "job_id": "42",
            "uid": "1000",
            "comment": comment.decode(),
            "tier": "lat:64M,cap",
            "restart": "3",
        }
    ]


def test_the_prolog_tells_what_to_stage(tmp_path: Path) -> None:
    paths = "/data/größe 1,/data/" + "x" * 2000
    options = {b"SPANK_TIER_STAGE": os.fsencode(paths), b"SPANK_TIER_STAGE_WAIT": b"7", b"SPANK_TIER_SCRATCH": b"1024"}
    with listening(tmp_path / "agent-n1.sock", agrees) as asked:
        done = run(installed("prolog", tmp_path), more=options)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {key: asked[0][key] for key in ("stage", "stage_wait", "scratch")} == {
        "stage": paths,
        "stage_wait": "7",
        "scratch": "1024",
    }


def test_the_epilog_tells_the_agent(tmp_path: Path) -> None:
    marks = tmp_path / "agent-n1/ended"
    marks.mkdir(parents=True)
    with listening(tmp_path / "agent-n1.sock", agrees) as asked:
        done = run(installed("epilog", tmp_path))
    assert (done.returncode, done.stderr) == (0, b"")
    assert asked == [{"op": "epilog", "job_id": "42", "uid": "1000"}]
    assert [mark.name for mark in marks.iterdir()] == ["42"]
    (marks / "42").chmod(0)
    assert run(installed("epilog", tmp_path)).returncode == 0  # a mark is there already, and nobody listens


def test_a_comment_that_no_agent_would_read(tmp_path: Path) -> None:
    with listening(tmp_path / "agent-n1.sock", agrees) as asked:
        done = run(installed("prolog", tmp_path), b"\xff" + b"x" * 100_000 + b" tierwise=0123456789abcdef")
    assert done.returncode == 0
    assert asked[0]["comment"].endswith("x tierwise=0123456789abcdef")
    assert len(asked[0]["comment"]) <= 4096


@pytest.mark.parametrize("script", ["prolog", "epilog"])
@pytest.mark.parametrize("behaviour", [silence, half, junk])
def test_an_agent_that_is_no_use(script: str, behaviour: Behaviour, tmp_path: Path) -> None:
    started = time.monotonic()
    with listening(tmp_path / "agent-n1.sock", behaviour):
        done = run(installed(script, tmp_path))
    assert done.returncode == 0
    assert f"tierwise: {script}: ".encode() in done.stderr
    assert time.monotonic() - started < 20  # it gives up after 1.5 s or 5 s; a machine may be busy


@pytest.mark.parametrize("script", ["prolog", "epilog"])
def test_nobody_is_there(script: str, tmp_path: Path) -> None:
    path = installed(script, tmp_path)
    done = run(path)
    assert done.returncode == 0
    assert b"agent-n1.sock" in done.stderr
    path.write_text(path.read_text().replace("/usr/bin/python3", "/nowhere/python3"))
    assert run(path).returncode == 0
    path.write_text(path.read_text().replace("/usr/bin/timeout", "/nowhere/timeout"))
    assert run(path).returncode == 0


def test_an_agent_that_stops_reading_the_whole_process(tmp_path: Path) -> None:
    """Even a Python that hangs is ended: the script has a limit of its own."""
    path = installed("prolog", tmp_path)
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    slow.chmod(0o755)
    path.write_text(path.read_text().replace("/usr/bin/python3", os.fspath(slow)))
    assert run(path).returncode == 0

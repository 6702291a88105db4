"""Typos, missing daemons, refusals: one line that says what was tried and what to do, and the exit code."""

from pathlib import Path

import pytest
from cli_values import Tierctl
from click.testing import CliRunner

from tierwise_cli import main


def one_line(text: str) -> str:
    """The only line of `text`."""
    assert "Traceback" not in text
    assert len(text.splitlines()) == 1, text
    return text


@pytest.mark.parametrize("command", [["status"], ["nodes"], ["jobs"], ["job", "12"], ["health"]])
def test_a_silent_service(tierctl: Tierctl, tmp_path: Path, command: list[str]) -> None:
    done = tierctl(*command, "--service", f"{tmp_path}/decision.sock")
    assert done.returncode == 3
    assert done.stdout == ""
    assert f"{tmp_path}/decision.sock" in one_line(done.stderr)
    assert "tierctl doctor" in done.stderr


def test_no_munge(tierctl: Tierctl, tmp_path: Path) -> None:
    done = tierctl("health")
    assert done.returncode == 3
    assert "munge" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["statsu"], "statsu"),
        (["job"], "JOB_ID"),
        (["job", "x"], "x"),
        (["job", "-1"], "-1"),
        (["plan", "--dry-run", "--tier=fast"], "unknown class"),
        (["plan", "--dry-run", "--tier=lat:0"], "more than zero"),
        (["plan", "--dry-run", "--tier=lat", "--mem=-3"], "not a size"),
        (["plan", "--tier=lat"], "--dry-run"),
        (["jobs", "--limit", "0"], "limit"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_wrong_usage(tierctl: Tierctl, arguments: list[str], word: str) -> None:
    done = tierctl(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert word in done.stderr


def test_a_wrong_configuration(tierctl: Tierctl, nowhere: Path) -> None:
    nowhere.write_text("[agent]\nservise = 'x'\n")
    done = tierctl("health")
    assert done.returncode == 2
    assert "servise" in one_line(done.stderr)
    assert str(nowhere) in done.stderr


def test_errors_hold_no_escapes(tierctl: Tierctl) -> None:
    said = tierctl("--agent", "/tmp/\x1b[31mred", "events")
    assert said.returncode == 3
    assert "\x1b" not in said.stderr


def test_a_missing_configuration(tierctl: Tierctl) -> None:
    done = tierctl("--config", "/does/not/exist.toml", "health")
    assert done.returncode == 2
    assert "/does/not/exist.toml" in one_line(done.stderr)


def test_doctor_without_anything(tierctl: Tierctl) -> None:
    done = tierctl("doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no agent runs here" in " ".join(done.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(tierctl: Tierctl, shell: str) -> None:
    done = tierctl("completion", shell)
    assert done.returncode == 0
    assert "_TIERCTL_COMPLETE" in done.stdout


def test_completion_completes(tierctl: Tierctl) -> None:
    done = tierctl(_TIERCTL_COMPLETE="bash_complete", COMP_WORDS="tierctl stat", COMP_CWORD="1")
    assert done.stdout.split() == ["plain,status"]


def test_completion_of_jobs_is_quiet_without_a_service(tierctl: Tierctl) -> None:
    done = tierctl(_TIERCTL_COMPLETE="bash_complete", COMP_WORDS="tierctl job 1", COMP_CWORD="2")
    assert done.stdout.strip() == done.stderr == ""


def test_help_teaches() -> None:
    top = CliRunner().invoke(main.tierctl, ["--help"]).output
    assert "Exit codes" in top
    for name in ("status", "nodes", "jobs", "job", "plan", "doctor", "health", "completion"):
        assert f"tierctl {name}" in CliRunner().invoke(main.tierctl, [name, "--help"]).output

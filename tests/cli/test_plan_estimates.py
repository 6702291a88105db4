"""`tierctl plan --dry-run` of a training job, and the picture of an estimate."""

import msgspec
import pytest
from cli_values import Tierctl
from rich.console import Console

from tierwise.messages import EstimateAnswer
from tierwise.units import GIB, MIB
from tierwise_cli.show.estimate import estimate
from tierwise_policy.containers import Containers

RESNET = "parameters=25.6M,activations=11M,batch=32,input=3x224x224,items=50K"


def shown(answer: EstimateAnswer) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(estimate(answer))
    return capture.get()


def test_containers_of_a_training_job(tierctl: Tierctl) -> None:
    said = tierctl("plan", "--dry-run", "--mem=8G", f"--training={RESNET}")
    assert (said.returncode, said.stderr) == (0, "")
    assert "6 containers of" in said.stdout
    assert "8334 items" in said.stdout


def test_time_for_a_cost(tierctl: Tierctl) -> None:
    said = tierctl("plan", "--dry-run", "--mem=8G", f"--training={RESNET},cost=100,unit_cost=1e-12")
    assert "32 min" in said.stdout


def test_a_model_that_fits_into_no_container(tierctl: Tierctl) -> None:
    said = tierctl("plan", "--dry-run", "--mem=1G", f"--training={RESNET}", "--json")
    assert said.returncode == 1
    found = msgspec.json.decode(said.stdout, type=Containers)
    assert found.count == 50_000
    assert "raise it" in found.why_not


@pytest.mark.parametrize("wrong", ["x", "parameters=1", "parameters=0,activations=1,batch=1,input=1", "input=axb"])
def test_a_training_job_that_is_none(tierctl: Tierctl, wrong: str) -> None:
    said = tierctl("plan", "--dry-run", "--mem=8G", f"--training={wrong}")
    assert said.returncode == 2
    assert "it looks like parameters=" in said.stderr


def test_training_needs_a_limit(tierctl: Tierctl) -> None:
    assert "needs --mem" in tierctl("plan", "--dry-run", f"--training={RESNET}").stderr


def test_an_estimate_with_its_basis() -> None:
    basis = "17 runs of this script, the largest, +2 %"
    text = shown(
        EstimateAnswer(runs=17, memory=2 * GIB, hot=256 * MIB, seconds=1800.0, basis=basis, time_basis="17 runs")
    )
    assert basis in text
    for part in ("2 GiB", "256 MiB", "30 min"):
        assert part in text
    assert "No history" in shown(EstimateAnswer())

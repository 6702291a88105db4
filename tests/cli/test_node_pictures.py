"""What a person sees of nodes: explanations, stragglers, loads; and tierctl's commands for them on a real service."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import msgspec
import pytest
from cli_values import NOON, Tierctl
from rich.console import Console, RenderableType
from test_daemons import service  # noqa: F401  a fixture

from tierwise.client import DecisionClient
from tierwise.telemetry import (
    Explanation,
    Hardware,
    Measurement,
    NodeLoad,
    Straggler,
    TelemetryBatch,
    Utilisation,
    Verdict,
)
from tierwise.units import GIB
from tierwise_cli.show.explain import explanation
from tierwise_cli.show.loads import loads
from tierwise_cli.show.stragglers import stragglers

HARDWARE = Hardware(16, "model", 64 * GIB, {"eth0": 125_000_000}, ("P100",), 16 * GIB)
MEASURED = Measurement(NOON, 10.0, Utilisation(0.97, 0.5, 0.25), Utilisation(0.5, 0.1, 0.0), peers={"n2": 250_000})
VERDICTS = (
    Verdict("n1", True, "rank 1 of those that suit: nothing busy", 1.0, 1.0),
    Verdict("n2", False, "its CPUs are 97% busy with what is not Slurm's, the threshold is 80%\x1b[31m", 0.97),
)
PICTURES: dict[str, RenderableType] = {
    "explain": explanation(Explanation(4711, NOON, "2 nodes, 4 GiB", ("n1",), VERDICTS, ("thresholds: the usual",))),
    "stragglers": stragglers(
        [Straggler("n1", "named", NOON, "cpu 97% busy", 0.97), Straggler("n2", "pardoned", NOON, "x" * 90, 0, NOON, 0)]
    ),
    "loads": loads({"n1": NodeLoad(HARDWARE, MEASURED), "n2": NodeLoad(Hardware(1, "m", 1), MEASURED)}),
}


def draw(picture: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(picture)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", PICTURES)
def test_no_line_is_wider_than_the_terminal_and_no_escape_reaches_it(name: str, width: int) -> None:
    text = draw(PICTURES[name], width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text


def test_each_node_has_its_reason_and_the_jobs_own_are_marked() -> None:
    lines = draw(PICTURES["explain"], 120).splitlines()
    assert lines[2].split()[:4] == ["*", "n1", "yes", "1.000"]
    assert lines[3].split()[:3] == ["n2", "no", "-"]
    assert "97% busy with what is not Slurm's" in lines[3]


def test_loads_show_what_is_not_slurms() -> None:
    first, second = draw(PICTURES["loads"], 100).splitlines()[1:]
    assert first.split() == [
        "n1",
        "97%",
        "(50%)",
        "50%",
        "(10%)",
        "25%",
        "(0%)",
        "0%",
        "(0%)",
        "0%",
        "(0%)",
        "250",
        "µs",
    ]
    assert second.split()[5:8] == ["?", "-", "-"], "no speed of a link, no GPU"


@pytest.mark.usefixtures("service")
def test_tierctl_pins_explains_and_shows_loads(tierctl: Tierctl, nowhere: Path) -> None:
    with DecisionClient(f"{nowhere.parent}/decision.sock") as client:
        now = msgspec.structs.replace(MEASURED, time=time.time_ns())
        client.telemetry(TelemetryBatch("n1", HARDWARE, (now,)))
    assert tierctl("straggler", "list").stdout == "No node is a straggler.\n"
    assert tierctl("straggler", "pin", "nowhere").returncode == 4
    pinned = tierctl("straggler", "pin", "n1", "--reason", "fan", "--json")
    assert msgspec.json.decode(pinned.stdout, type=Straggler).state == "pinned", pinned.stderr
    assert "an admin's word: fan (by root)" in " ".join(tierctl("straggler", "list", COLUMNS="200").stdout.split())
    assert "97% (50%)" in tierctl("nodes").stdout
    told = json.loads(tierctl("nodes", "--json").stdout)
    loads = {node["sample"]["node"]: node["load"] for node in told}
    assert msgspec.convert(loads["n1"], NodeLoad) == NodeLoad(HARDWARE, now)
    explained = tierctl("explain", "4711", "--json")
    assert msgspec.json.decode(explained.stdout, type=Explanation).job_id == 4711, explained.stderr

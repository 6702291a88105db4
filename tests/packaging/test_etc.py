"""The example configuration says everything and nothing wrong; units and snippets agree with the rest."""

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from tierwise.config import AgentConfig, Config, MungeConfig, ServiceConfig, TierConfig, load_config

REPOSITORY = Path(__file__).resolve().parents[2]
ETC = REPOSITORY / "etc"
EXAMPLE = ETC / "tierwise.toml"
UNITS = sorted((ETC / "systemd").glob("*.service"))


def uncommented() -> str:
    """The example with each of its settings switched on."""
    return re.sub(r"^#(?=\S)", "", EXAMPLE.read_text(), flags=re.MULTILINE)


def test_the_example_changes_nothing() -> None:
    assert load_config(EXAMPLE) == Config()


def test_every_setting_stands_at_its_default() -> None:
    whole = msgspec.toml.decode(uncommented(), type=Config)
    assert whole.agent.tiers["dram"] == TierConfig((0, 1), 80, 200 * 10**9)
    assert whole.service.prefer == {"LAT": "fastmem"}
    assert whole.service.sizing == {"batch": "fill"}
    plain = msgspec.structs.replace(
        whole,
        agent=msgspec.structs.replace(whole.agent, tiers={}),
        service=msgspec.structs.replace(whole.service, prefer={}, sizing={}),
    )
    assert plain == Config()


@pytest.mark.parametrize("section", [Config, ServiceConfig, AgentConfig, TierConfig, MungeConfig])
def test_every_key_is_there(section: type[msgspec.Struct]) -> None:
    text = EXAMPLE.read_text()
    for field in msgspec.structs.fields(section):
        assert re.search(rf"^#?\[?(agent\.)?{field.name}( = |\.|\])", text, re.MULTILINE), field.name


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_units(unit: Path) -> None:
    assert shutil.which("systemd-analyze"), "install systemd"
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert [line for line in complaints if unit.name in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_bounded_and_confined(unit: Path) -> None:
    settings = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")
    for bound in ("MemoryMax", "TasksMax", "LogRateLimitIntervalSec", "LogRateLimitBurst"):
        assert settings[bound], bound
    assert settings["NoNewPrivileges"] == "yes"
    assert settings["ProtectSystem"] == "strict"
    assert "CapabilityBoundingSet" in settings


def test_the_service_is_no_root() -> None:
    text = (ETC / "systemd/tierwise-decision.service").read_text()
    assert "\nUser=slurm\n" in text
    assert "\nCapabilityBoundingSet=\n" in text


def test_the_two_agent_units_differ_in_the_node_alone() -> None:
    one, many = ((ETC / f"systemd/tierwise-agent{at}.service").read_text().splitlines()[2:] for at in ("", "@"))
    different = [(a, b) for a, b in zip(one, many, strict=True) if a != b]
    assert [a.replace("%l", "%i") for a, _ in different][1:] == [b for _, b in different][1:]
    assert len(different) == 2


def test_the_admins_page_names_every_file() -> None:
    page = (REPOSITORY / "docs/admin.md").read_text()
    names = {path.name for path in ETC.rglob("*") if path.is_file()}
    assert {name for name in names if f"`{name}`" not in page and f"/{name}`" not in page} == set()


def test_snippets_name_what_the_package_installs() -> None:
    for name in ("prolog", "epilog"):
        assert f"{name.capitalize()}=/usr/lib/tierwise/{name}\n" in (ETC / "slurm/slurm.conf.snippet").read_text()
    plugstack = (ETC / "slurm/plugstack.conf.snippet").read_text().splitlines()[-1]
    assert plugstack.startswith("optional /usr/lib/tierwise/slurm-22.05/tierwise.so ")
    assert plugstack.endswith(f"socket={AgentConfig().socket}")

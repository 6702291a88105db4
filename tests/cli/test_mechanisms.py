"""Doctor's look at Slurm's configuration: what Slurm prints, and the files that it names."""

from pathlib import Path

import pytest

from tierwise.config import Config, ServiceConfig
from tierwise.messages import Mechanism
from tierwise_cli.mechanisms import slurm, slurmconf
from tierwise_cli.mechanisms.hook import lua_module
from tierwise_cli.mechanisms.spank import spank

PRINTED = """Configuration data as of 2026-11-23T00:33:11
AccountingStorageType   = accounting_storage/none
Epilog                  = /etc/slurm/epilog
EpilogSlurmctld         = (null)
GresTypes               = gpu,tier_dram,tier_cxl
JobSubmitPlugins        = lua
PluginDir               = /usr/lib/x86_64-linux-gnu/slurm-wlm
PlugStackConfig         = {folder}/plugstack.conf
Prolog[0]               = /usr/local/sbin/site-prolog
Prolog[1]               = /usr/lib/tierwise/prolog
PrologFlags             = Alloc,Contain
PrologSlurmctld         = (null)
SelectTypeParameters    = CR_CORE_MEMORY
SlurmctldHost[0]        = another(10.0.0.1)
SLURM_CONF              = {folder}/slurm.conf
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at another is UP
"""


@pytest.fixture
def printed(tmp_path: Path) -> slurmconf.Settings:
    """What `scontrol show config` prints, on a host that is not the controller's."""
    return slurmconf.parse(PRINTED.format(folder=tmp_path))


def state(rows: list[Mechanism], name: str) -> str:
    """The state of the row of that name."""
    return next(row.state for row in rows if row.name == name)


def test_values_are_parsed(printed: slurmconf.Settings) -> None:
    assert printed["Prolog"] == ("/usr/local/sbin/site-prolog", "/usr/lib/tierwise/prolog")
    assert printed["PrologSlurmctld"] == ()
    assert slurmconf.items(printed, "GresTypes") == ["gpu", "tier_dram", "tier_cxl"]
    assert slurmconf.first(printed, "SLURM_VERSION") == "22.05.8"
    assert slurmconf.first(printed, "Nonsense") == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("AccountingStorageType", "accounting_storage/slurmdbd"),
        ("EpilogSlurmctld", "/usr/lib/tierwise/epilog_slurmctld"),
    ],
)
def test_who_tells_of_ended_jobs(printed: slurmconf.Settings, key: str, value: str) -> None:
    assert state(slurm.rows({**printed, key: (value,)}, Config()), "ended jobs") == "used"


def test_rows(printed: slurmconf.Settings) -> None:
    rows = slurm.rows(printed, Config())
    assert state(rows, "Prolog") == "used"
    assert state(rows, "Epilog") == "fallback"
    assert state(rows, "EpilogSlurmctld") == "fallback"
    assert state(rows, "ended jobs") == "missing"
    assert state(rows, "PrologFlags") == "used"
    assert state(rows, "GRES per tier") == "used"
    assert state(rows, "JobSubmitPlugins") == "used"
    assert state(rows, "job_submit.lua") == "off", "only looked at where slurmctld runs"


def test_a_bare_slurm_has_advice_for_everything() -> None:
    rows = slurm.rows(slurmconf.parse("PlugStackConfig = /does/not/exist\nSLURM_VERSION = 24.11.5\n"), Config())
    assert state(rows, "JobSubmitPlugins") == "missing"
    assert state(rows, "GRES per tier") == "missing"
    assert state(rows, "SPANK plugin (--tier)") == "missing"
    assert state(rows, "PrologFlags") == "fallback"
    assert all(row.advice for row in rows if row.state in ("missing", "fallback"))


def test_gres_that_are_not_wanted_are_not_missed() -> None:
    rows = slurm.rows(slurmconf.parse("SLURM_VERSION = 24.11.5\n"), Config(service=ServiceConfig(gres=False)))
    assert state(rows, "GRES per tier") == "off"


def test_a_sites_own_prolog_may_call_ours(tmp_path: Path) -> None:
    own = tmp_path / "site-prolog"
    own.write_text("#!/bin/sh\n/usr/lib/tierwise/prolog\n")
    rows = slurm.rows(slurmconf.parse(f"Prolog = {own}\n"), Config())
    assert state(rows, "Prolog") == "used"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("optional {folder}/tierwise.so socket=/run/tierwise/agent-%n.sock", "used"),
        ("optional tierwise.so", "used"),
        ("optional {folder}/tierwise.so socket=/run/x off", "off"),
        ("# optional {folder}/tierwise.so", "missing"),
        ("optional /does/not/exist/tierwise.so", "missing"),
        ("optional /usr/lib/other.so", "missing"),
        ("include conf.d/*.conf", "used"),
        ("include plugstack.conf", "missing"),
    ],
)
def test_plugstack(printed: slurmconf.Settings, tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "tierwise.so").touch()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/tierwise.conf").write_text(f"optional {tmp_path}/tierwise.so\n")
    (tmp_path / "plugstack.conf").write_text(line.format(folder=tmp_path) + "\n")
    assert spank(printed).state == expected


def test_a_required_line_is_advised_against(printed: slurmconf.Settings, tmp_path: Path) -> None:
    (tmp_path / "tierwise.so").touch()
    (tmp_path / "plugstack.conf").write_text(f"required {tmp_path}/tierwise.so\n")
    assert "optional" in spank(printed).advice


def test_lua_modules_are_found_by_version(tmp_path: Path) -> None:
    module = tmp_path / "x86_64-linux-gnu/lua/5.1/socket/unix.so"
    module.parent.mkdir(parents=True)
    module.touch()
    assert lua_module("5.1", [f"{tmp_path}/*/lua"]) == str(module)
    assert lua_module("5.4", [f"{tmp_path}/*/lua"]) is None

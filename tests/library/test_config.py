"""Configuration and units: typos are named, sizes survive the way out and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.config import Config, load_config
from tierwise.errors import ConfigError
from tierwise.units import GIB, KIB, LARGEST, MIB, TIB, format_size, mib_ceil, parse_size


def test_without_a_file_the_defaults_hold(monkeypatch):
    monkeypatch.delenv("TIERWISE_CONFIG", raising=False)
    monkeypatch.setattr("tierwise.config.DEFAULT_PATH", "/nonexistent/tierwise.toml")
    assert load_config() == Config()


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[agent]\npinshare = 0.5", "pinshare"),
        ("[agent]\npin_share = 1.5", r"\$\.agent\.pin_share"),
        ("[agent", "tierwise.toml"),
        ("[service]\nlisten = 5", r"\$\.service\.listen"),
        ('[agent]\ncgroup = "/system.slice/slurm"', r"\$\.agent\.cgroup"),
        ("[agent]\nmove_limit = -1", r"\$\.agent\.move_limit"),
        ("[agent]\ncapacity_share = 0.0", r"\$\.agent\.capacity_share"),
        ("[agent.tiers.cxl]\nnuma_nodes = [-1]", r"numa_nodes"),
        ("[agent.tiers.cxl]\nnuma_nodes = [1]\nbandwidth = 0", r"bandwidth"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path, text, reason):
    file = tmp_path / "tierwise.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load_config(file)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (512, "512 B"), (64 * MIB, "64 MiB"), (3 * GIB // 2, "1.5 GiB"), (2 * TIB, "2 TiB"), (-KIB, "-1 KiB")],
)
def test_sizes_for_people(size, text):
    assert format_size(size) == text


@given(st.integers(min_value=1, max_value=LARGEST))
def test_sizes_in_bytes_parse(size):
    assert parse_size(str(size)) == size
    assert mib_ceil(size) * MIB >= size > (mib_ceil(size) - 1) * MIB


@pytest.mark.parametrize(
    "text", ["", "K", "-1", "0", "1.5G", "1P", "1KB", "٣G", "9" * 30, str(LARGEST + 1), "8388608T"]
)
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)

"""The plugin's parts that need no Slurm, under the sanitizers, and what the built plugin shows to Slurm."""

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def make(*arguments: str) -> None:
    done = subprocess.run(
        ["make", "-s", "-C", REPOSITORY / "csrc" / "spank", *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_unit_tests_in_c() -> None:
    make("test")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    make(f"CC={compiler}", f"BUILD={tmp_path}")
    (plugin,) = tmp_path.glob("*/tierwise.so")
    symbols = subprocess.run(["nm", "-D", "--defined-only", plugin], check=True, capture_output=True, text=True)
    names = {line.split()[-1] for line in symbols.stdout.splitlines()}
    assert names == {
        "plugin_name",
        "plugin_type",
        "plugin_version",
        "spank_plugin_version",
        "slurm_spank_init",
        "slurm_spank_init_post_opt",
        "slurm_spank_task_init",
        "slurm_spank_task_exit",
    }

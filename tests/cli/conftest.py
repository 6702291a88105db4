"""tierctl as a person runs it: a process of its own, with a configuration that leads nowhere by default."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_values import Tierctl


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A configuration in which no daemon runs."""
    config = tmp_path / "tierwise.toml"
    config.write_text(
        f"""
[service]
socket = "{tmp_path}/decision.sock"
hook_socket = "{tmp_path}/hook.sock"
[agent]
socket = "{tmp_path}/agent-%n.sock"
service = "http://127.0.0.1:1"
[munge]
socket = "{tmp_path}/munge.sock"
"""
    )
    return config


@pytest.fixture
def tierctl(nowhere: Path) -> Tierctl:
    """Run tierctl with `nowhere`'s configuration."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")}
        return subprocess.run(
            [sys.executable, "-c", "from tierwise_cli.main import main; main()", *arguments],
            capture_output=True,
            text=True,
            env=env | {"TIERWISE_CONFIG": str(nowhere)} | environment,
            timeout=60,
            check=False,
        )

    return run

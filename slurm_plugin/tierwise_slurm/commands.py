"""Running Slurm's commands: bounded in time, in a known environment, without a shell."""

import os
import subprocess
from collections.abc import Sequence
from typing import Protocol

from tierwise.slurm import SlurmError

PATIENCE = 10.0
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Run(Protocol):
    """Runs a command and returns its standard output. Raises SlurmError."""

    def __call__(self, argv: Sequence[str]) -> str: ...


class Commands:
    """The commands of the Slurm that `slurm_conf` describes; empty: Slurm's own default."""

    def __init__(self, slurm_conf: str = "") -> None:
        self._environment = {
            "PATH": f"{os.environ.get('PATH', '')}:{_FOLDERS}",
            "LANG": "C.UTF-8",
            "SLURM_TIME_FORMAT": "%s",  # seconds since the epoch: local time is said twice a year
        }
        if conf := slurm_conf or os.environ.get("SLURM_CONF", ""):
            self._environment["SLURM_CONF"] = conf

    def __call__(self, argv: Sequence[str]) -> str:
        """See Run."""
        try:
            done = subprocess.run(
                argv,
                check=False,
                capture_output=True,
                timeout=PATIENCE,
                env=self._environment,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise SlurmError(f"{' '.join(argv[:3])}: no answer within {PATIENCE:g} s") from None
        except OSError as error:
            raise SlurmError(f"could not run {argv[0]}: {error.strerror or error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
            raise SlurmError(f"{' '.join(argv[:4])}: exit {done.returncode}: {said[:300]}")
        return done.stdout.decode(errors="replace")

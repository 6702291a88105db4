"""Two controllers, a decision service beside each: when the active pair dies, submissions go on.

Both pairs are on this machine, each in namespaces of its own: its host name, its address, its sockets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tierwise_lab import accounts
from tierwise_lab.daemons import Daemon, wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack, listens

HOSTS = {"ctl1": "127.0.0.1", "ctl2": "127.0.0.2"}
ENTER = """
hostname "$0" && mount --bind "$1" /etc/hosts && mount --bind "$2" "$3" && user=$4 && shift 4 &&
exec setpriv --reuid="$user" --regid="$user" --init-groups "$@"
"""


class Pair(Stack):
    """A stack with a second controller and a second service, on the same state and the same database."""

    @property
    def second_run(self) -> Path:
        """Where the second host's sockets are, for who is outside it."""
        return self.layout.top / "run2"

    def _write(self) -> None:
        super()._write()
        layout = self.layout
        self.second_run.mkdir(mode=0o755)
        os.chown(self.second_run, *accounts.ids(accounts.SLURM_USER))
        (layout.etc / "hosts").write_text("".join(f"{address} {name}\n" for name, address in HOSTS.items()))
        more = f"SlurmctldHost=ctl2(127.0.0.2)\nSlurmctldPidFile={layout.run}/slurmctld.pid\n"
        layout.slurm_conf.write_text(layout.slurm_conf.read_text() + more)
        config = layout.config.read_text().replace('listen = "127.0.0.1', 'listen = "127.0.0.2')
        (layout.etc / "second.toml").write_text(config)

    def _describe(self) -> dict[str, Daemon]:
        daemons = super()._describe()
        controller, service = daemons["slurmctld"], daemons["decision"]
        config = {str(self.layout.config): str(self.layout.etc / "second.toml")}
        return {
            **daemons,
            "slurmctld": self._on("ctl1", controller),
            "slurmctld-2": self._on("ctl2", controller),
            "decision-2": self._on("ctl2", replace(service, argv=[config.get(part, part) for part in service.argv])),
        }

    def _on(self, host: str, daemon: Daemon) -> Daemon:
        """The daemon as it would be on a host of this name."""
        name = daemon.name if host == "ctl1" else f"{daemon.name}-2"
        run = self.layout.run if host == "ctl1" else self.second_run
        where = (str(self.layout.etc / "hosts"), str(run), str(self.layout.run), accounts.SLURM_USER)
        return replace(
            daemon,
            name=name,
            argv=["unshare", "--uts", "--mount", "sh", "-c", ENTER, host, *where, *daemon.argv],
            pid_file=self.layout.pids / name,
            output=self.layout.log / f"{name}.err",
            user="root",  # until it has entered
        )


@pytest.fixture
def pair() -> Iterator[Pair]:
    options = StackOptions(
        nodes=1,
        controller_host=("ctl1", "127.0.0.1"),
        hook_budget_ms=5000,
        extra_slurm_conf=("SlurmctldTimeout=3", "CommunicationParameters=NoCtldInAddrAny"),
    )
    with Pair(options) as running:
        wait_until(lambda: listens(running.second_run / "hook.sock"), "the second service's hook socket", 60)
        yield running


def planned(pair: Pair) -> bool:
    """Whether a job is taken, gets a token, and runs to its end."""
    done = pair.run(["sbatch", "--parsable", "--tier=cap", "--wrap", "true"])
    if done.returncode != 0:
        return False
    job = int(done.stdout)
    return "tierwise=" in pair.job(job).get("Comment", "") and pair.wait(job)["JobState"] == "COMPLETED"


def test_the_active_controller_and_its_service_die(pair: Pair) -> None:
    wait_until(lambda: planned(pair), "a job to be planned and run", 90)
    for name in ("decision", "slurmctld"):
        pair.kill9(name)
    wait_until(lambda: planned(pair), "a job to be planned and run by the second controller", 90)
    assert "primary) at ctl1 is DOWN" in pair.run(["scontrol", "ping"], user="root").stdout
    assert pair.drained() == {}

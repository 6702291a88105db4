"""Slurm with Tierwise in it, started in one private directory without systemd, and stopped whatever happens.

    with Stack() as stack:
        job = stack.sbatch("#!/bin/sh\nsleep 1\n", "--tier=cap")
        stack.wait(job, "COMPLETED")

`python -m tierwise_lab.stack up|down|run` does the same for a person or a script. Needs root.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType

from tierwise_lab import accounts, checkout, chroot, munge, native, slurmconf, tierwise
from tierwise_lab.commands import ALICE, Commands
from tierwise_lab.daemons import Daemon, LabError, wait_until
from tierwise_lab.layout import Layout, Slot, claim, make_folders
from tierwise_lab.options import Node, StackOptions
from tierwise_lab.teardown import down, tear_down

SERVICE_PORT = 63  # the last of a slot's ports

PATIENCE_S = 300
"""A daemon may take this long to answer: an emulated node runs Python 10 to 20 times slower."""


class Stack(Commands):
    """One running Slurm. `start` and `stop` are also what `with` does; `daemons` names what it runs."""

    def __init__(self, options: StackOptions | None = None) -> None:
        self.options = options or StackOptions()
        self.daemons: dict[str, Daemon] = {}
        self.nodes: tuple[Node, ...] = ()
        self._slot: Slot | None = None

    # --- life -------------------------------------------------------------------------------------------

    def __enter__(self) -> Stack:
        try:
            self.start_all()
        except BaseException:
            self.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def start_all(self) -> None:
        """Take a slot, write the configuration, start every daemon and wait until all nodes are idle."""
        if os.geteuid() != 0:
            raise LabError("the stack starts slurmd and an agent as root: run it as root")
        accounts.ensure_users()
        self._slot = claim()
        if self._slot is None:
            raise LabError("every slot of /var/lib/tierwise-lab is taken: `python -m tierwise_lab.stack down`")
        atexit.register(self.stop_all)
        for ending in (signal.SIGTERM, signal.SIGHUP):
            if threading.current_thread() is threading.main_thread() and signal.getsignal(ending) == signal.SIG_DFL:
                signal.signal(ending, end_with_cleanup)
        tear_down(self.layout)
        self._write()
        self._start_daemons()

    def stop_all(self) -> None:
        """End the daemons and the jobs, remove cgroups, mounts and the directory. Harmless when repeated."""
        atexit.unregister(self.stop_all)
        if self._slot is None:
            return
        tear_down(self.layout)
        for daemon in self.daemons.values():
            daemon.stop()
        self._slot.release()
        self._slot = None

    def keep(self) -> None:
        """Let the stack outlive this process: `down` ends it."""
        self.layout.kept.touch()
        atexit.unregister(self.stop_all)
        assert self._slot is not None
        self._slot.release()
        self._slot = None

    @property
    def layout(self) -> Layout:
        if self._slot is None:
            raise LabError("the stack is not running")
        return self._slot.layout

    # --- daemons ----------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start one daemon (`slurmctld`, `slurmd-n1`, `decision`, `agent-n1`) and wait until it answers."""
        self.daemons[name].start()
        self._await(name)

    def stop(self, name: str) -> None:
        self.daemons[name].stop()

    def kill9(self, name: str) -> None:
        self.daemons[name].kill9()

    def log(self, name: str) -> str:
        """What a daemon has logged so far."""
        return self.daemons[name].text()

    @property
    def service_url(self) -> str:
        """Where the decision service listens for agents."""
        assert self._slot is not None
        return f"http://{self._controller_host[1]}:{self._slot.port(SERVICE_PORT)}"

    # --- starting ---------------------------------------------------------------------------------------

    @property
    def local_nodes(self) -> tuple[Node, ...]:
        """The nodes whose slurmd runs on this host."""
        local = self.options.local
        return tuple(node for node in self.nodes if local is None or node.name in local)

    @property
    def _controller_host(self) -> tuple[str, str]:
        return self.options.controller_host or (native.short_hostname(), "127.0.0.1")

    def _write(self) -> None:
        slot, layout, options = self._slot, self.layout, self.options
        assert slot is not None
        self.nodes = options.cluster or native.nodes(options, slot.first_node, slot.port(1))
        make_folders(layout, [node.name for node in self.local_nodes])
        munge.install_key(layout.munge / "munge.key", options.munge_key)
        controller = slurmconf.Controller(*self._controller_host, slot.port(0))
        layout.slurm_conf.write_text(slurmconf.slurm_conf(options, layout, controller, self.nodes))
        (layout.etc / "cgroup.conf").write_text(slurmconf.cgroup_conf(options))
        if options.slurm_root:
            chroot.enter_into(layout, options.slurm_root)
        if options.with_tierwise:
            checkout.install_commands(layout)
            tierwise.install(
                options,
                layout,
                release=self._release(),
                service=self.service_url.removeprefix("http://"),
                share=1 if options.cluster else self.nodes[0].tiers_mib["dram"] / native.tiers_mib()["dram"],
            )
            if options.plugin_missing:
                tierwise.hide_plugin(layout)
        self.daemons = self._describe()

    def _release(self) -> str:
        """The Slurm release that runs here: "22.05"."""
        said = self.run(["slurmd", "-V"], user="root").stdout  # "slurm-wlm 22.05.8"
        return ".".join(said.split()[-1].split(".")[:2])

    def _describe(self) -> dict[str, Daemon]:
        options, layout = self.options, self.layout
        daemons = [self._daemon("munged", munge.command(layout.munge))]
        if options.controller:
            daemons.append(
                self._daemon(
                    "slurmctld",
                    ["slurmctld", "-D", "-f", str(layout.slurm_conf)],
                    user=accounts.SLURM_USER,
                    own_log=True,
                )
            )
        for node in self.local_nodes:
            conf = layout.compute_node_etc / "slurm.conf"
            daemons.append(
                self._daemon(
                    f"slurmd-{node.name}",
                    [
                        "slurmd",
                        "-D",
                        "-N",
                        node.name,
                        "-f",
                        str(conf if conf.exists() else layout.slurm_conf),
                    ],
                    own_log=True,
                )
            )
        if options.with_tierwise and options.service and options.controller:
            daemons.append(
                self._daemon("decision", tierwise.decision_command(layout), user=accounts.SLURM_USER, inside=False)
            )
        if options.with_tierwise and options.agents:
            daemons += [
                self._daemon(f"agent-{node.name}", tierwise.agent_command(layout, node.name), inside=False)
                for node in self.local_nodes
            ]
        return {daemon.name: daemon for daemon in daemons}

    def _daemon(
        self, name: str, argv: list[str], user: str = "root", own_log: bool = False, inside: bool = True
    ) -> Daemon:
        """`own_log`: it writes log/NAME.log itself; `inside`: it belongs to slurm_root, where there is one."""
        layout = self.layout
        return Daemon(
            name,
            [*(self.entrance(user) if inside else []), *argv],
            layout.pids / name,
            layout.log / f"{name}.log",
            output=layout.log / f"{name}.err" if own_log else None,
            env=self.environment(user),
            user="root" if inside and self.options.slurm_root else user,
        )

    def _start_daemons(self) -> None:
        """Slurm first and ours beside it: nothing of ours may be needed for nodes to come up."""
        self.daemons["munged"].start()
        wait_until(self.layout.munge_socket.exists, "munged's socket", 60)
        for name, daemon in self.daemons.items():
            if name != "munged":
                daemon.start()
        for name in self.daemons:
            self._await(name)
        if {"decision", *(f"agent-{node.name}" for node in self.local_nodes)} <= set(self.daemons):
            wait_until(self._agents_reported, "the decision service to hear from every agent", PATIENCE_S)
        if self.options.controller:
            names = {node.name for node in self.local_nodes}
            wait_until(
                lambda: all(self.node_states().get(name) == "idle" for name in names),
                f"nodes {sorted(names)} to become idle (logs in {self.layout.log})",
                PATIENCE_S,
            )

    def _await(self, name: str) -> None:
        """Wait until the daemon does its work: it answers, or its socket listens."""
        daemon = self.daemons[name]
        if name == "slurmctld":
            ready = self._controller_answers
        elif name == "decision":
            ready = partial(listens, self.layout.decision_socket)
        elif name.startswith("agent-"):
            ready = partial(listens, self.layout.agent_socket(name.removeprefix("agent-")))
        else:
            return

        def ready_or_dead() -> bool:
            if not daemon.running():
                raise LabError(f"{name} ended at its start: {daemon.text()[-2000:]}")
            return ready()

        wait_until(ready_or_dead, f"{name} to answer (see {daemon.log})", PATIENCE_S)

    def _agents_reported(self) -> bool:
        """Whether the service has heard from every node of the cluster, those on other hosts too."""
        try:
            with urllib.request.urlopen(f"{self.service_url}/healthz", timeout=5) as answer:
                return int(json.load(answer)["nodes_up"]) >= len(self.nodes)
        except urllib.error.URLError:  # its unix sockets listen first
            return False

    def _controller_answers(self) -> bool:
        return "is UP" in self.run(["scontrol", "ping"], user="root").stdout


def listens(path: Path) -> bool:
    """Whether somebody accepts connections there; a killed daemon leaves a socket at which nobody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def end_with_cleanup(number: int, frame: FrameType | None) -> None:
    """A signal handler: leave through SystemExit, so that `with` and atexit stop the stack."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """up: start and leave running; down: end what was left; run: start, run a command as a job user, stop."""
    parser = argparse.ArgumentParser(prog="python -m tierwise_lab.stack", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "run"):
        command = commands.add_parser(name)
        command.add_argument("--nodes", type=int, default=4, help="how many virtual nodes (4)")
        command.add_argument("--plain", action="store_true", help="Slurm without Tierwise")
        if name == "run":
            command.add_argument("--user", default=ALICE)
            command.add_argument("argv", nargs="+", metavar="CMD")
    commands.add_parser("down")
    asked = parser.parse_args(arguments)
    if asked.command == "down":
        print(*down(), sep="\n")
        return 0
    options = StackOptions(nodes=asked.nodes, with_tierwise=not asked.plain)
    with Stack(options) as stack:
        if asked.command == "run":
            return stack.attach(asked.argv, asked.user)
        conf, config = stack.layout.slurm_conf, stack.layout.config
        print(f"export SLURM_CONF={conf} TIERWISE_CONFIG={config} PATH={stack.layout.bin}:$PATH")
        stack.keep()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"tierwise_lab.stack: {error}")

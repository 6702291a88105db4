"""Tierwise's own part of a stack: its configuration, what it gives to Slurm, its daemons' commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tierwise_lab import accounts
from tierwise_lab.daemons import LabError
from tierwise_lab.layout import Layout
from tierwise_lab.options import REPOSITORY, StackOptions

PLUGIN = REPOSITORY / "slurm_plugin"


def install(options: StackOptions, layout: Layout, release: str, service: str, share: float) -> None:
    """Write tierwise.toml, job_submit.lua with its modules, prolog, epilog and plugstack.conf.

    `release` is Slurm's, `service` the decision service's host:port, `share` the part of this host's tiers that
    each node has.
    """
    layout.config.write_text(toml(settings(options, layout, service, share)))
    shutil.copytree(PLUGIN, layout.lua, ignore=shutil.ignore_patterns("__pycache__"))
    layout.job_submit.write_text(job_submit(layout, options.hook_budget_ms, options.burst_buffer))
    buffer = (PLUGIN / "burst_buffer.lua").read_text().replace("/usr/share/tierwise", str(layout.lua))
    (layout.etc / "burst_buffer.lua").write_text(buffer.replace("/run/tierwise/hook.sock", str(layout.hook_socket)))
    for name in ("prolog", "epilog", "epilog_slurmctld", "jobcomp", "task_prolog"):
        script = (PLUGIN / name).read_text().replace("/usr/lib/tierwise", str(layout.lua))
        script = script.replace("/var/lib/tierwise/agent-", f"{layout.agents}/")
        (layout.etc / name).write_text(script.replace("/run/tierwise", str(layout.run)))
        (layout.etc / name).chmod(0o755)
    plugin = layout.etc / "tierwise.so"
    shutil.copy(spank_plugin(release, options.slurm_root), plugin)
    (layout.etc / "plugstack.conf").write_text(plugstack(layout, plugin, options.plugstack_args))


def spank_plugin(release: str, slurm_root: Path | None) -> Path:
    """The plugin built for a Slurm release; for that of `slurm_root` it is built now, against the headers there."""
    if slurm_root:
        include = f"SLURM_INCLUDE={slurm_root}/usr/include"
        command = ["make", "-s", "-C", str(REPOSITORY / "csrc" / "spank"), include]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    for built in (REPOSITORY / "spank", REPOSITORY / "build" / "spank"):
        if (plugin := built / release / "tierwise.so").exists():
            return plugin
    raise LabError(f"no SPANK plugin for Slurm {release} in {REPOSITORY}/build/spank: run `make spank`")


def job_submit(layout: Layout, budget_ms: int, burst_buffer: bool) -> str:
    """The example job_submit.lua with this stack's paths: what a site writes once, by hand."""
    loaded = 'local found, tierwise = pcall(require, "tierwise")\n'
    settings = f'socket = "{layout.hook_socket}", budget_ms = {budget_ms}, burst_buffer = {str(burst_buffer).lower()}'
    setup = f"if found then tierwise.setup({{ {settings} }}) end\n"
    text = (PLUGIN / "job_submit.lua").read_text().replace("/usr/share/tierwise", str(layout.lua))
    if loaded not in text:
        raise LabError(f"{PLUGIN}/job_submit.lua does not load the hook as the lab knows it")
    return text.replace(loaded, loaded + setup)


def plugstack(layout: Layout, plugin: Path, arguments: str) -> str:
    """plugstack.conf; the plugin itself replaces %n by the NodeName."""
    return f"optional {plugin} socket={layout.agent_socket('%n')} {arguments}".rstrip() + "\n"


def hide_plugin(layout: Layout) -> None:
    """Give the slurmds a configuration of their own, in which the plugin's file does not exist."""
    own = layout.compute_node_etc
    own.mkdir()
    for name in ("slurm.conf", "cgroup.conf"):
        text = (layout.etc / name).read_text()
        (own / name).write_text(text.replace(f"{layout.etc}/plugstack.conf", f"{own}/plugstack.conf"))
    (own / "plugstack.conf").write_text(plugstack(layout, own / "missing.so", ""))


def settings(options: StackOptions, layout: Layout, service: str, share: float) -> dict[str, dict[str, object]]:
    """The tables of tierwise.toml."""
    tables: dict[str, dict[str, object]] = {
        "": {"slurm_conf": str(layout.slurm_conf)},
        "service": {
            "listen": service,
            "socket": str(layout.decision_socket),
            "hook_socket": str(layout.hook_socket),
            "database": f"sqlite:///{layout.service}/tierwise.db",
            "spool": str(layout.service / "spool"),
        },
        "agent": {
            "service": f"http://{service}",
            "service_uids": [accounts.ids(accounts.SLURM_USER)[0]],
            "socket": str(layout.agent_socket("%n")),
            "state": str(layout.agents / "%n"),
            "capacity_share": share,
            "report_interval": 1.0,
        },
        "agent.stage": {"path": str(layout.run / "stage-%n")},
        "munge": {"socket": str(layout.munge_socket)},
    }
    for name, more in options.settings.items():
        tables[name] = {**tables.get(name, {}), **more}
    return tables


def toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """TOML of tables whose values are strings, numbers, booleans and lists, which JSON writes the same way."""
    blocks = []
    for name, table in tables.items():
        lines = [f"[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def decision_command(layout: Layout) -> list[str]:
    return ["tierwise-decision", "--config", str(layout.config)]


def agent_command(layout: Layout, node: str) -> list[str]:
    return ["tierwise-agent", "--config", str(layout.config), "--node", node]

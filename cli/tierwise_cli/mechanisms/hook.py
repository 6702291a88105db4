"""Whether submissions pass our hook: job_submit/lua, the site's job_submit.lua, lua-socket, and the hook socket."""

import re
import socket
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from tierwise.config import Config
from tierwise.messages import Mechanism
from tierwise_cli.mechanisms.slurmconf import Settings, first, items

_LUA_FOLDERS = ("/usr/local/lib/lua", "/usr/lib/*/lua", "/usr/lib64/lua", "/usr/lib/lua")
_HERE_ONLY = "looked at on the controller's host only"


def hook(settings: Settings, config: Config) -> list[Mechanism]:
    """The rows of the hook. What lies in slurmctld's own files is only looked at where slurmctld runs."""
    plugin = _plugin(settings)
    if not is_controller(settings):
        return [
            plugin,
            *(Mechanism(name, "off", _HERE_ONLY) for name in ("job_submit.lua", "lua-socket", "hook socket")),
        ]
    return [plugin, _script(settings), _lua_socket(settings), _hook_socket(config.service.hook_socket)]


def is_controller(settings: Settings) -> bool:
    """Whether this host is one of those that slurmctld runs on: `SlurmctldHost[0] = ctl(10.0.0.1)`."""
    names = {host.partition("(")[0] for host in settings.get("SlurmctldHost", ())}
    here = socket.gethostname()
    return bool(names & {here, here.partition(".")[0], "localhost"})


def _plugin(settings: Settings) -> Mechanism:
    plugins = items(settings, "JobSubmitPlugins")
    if {"lua", "job_submit/lua"} & set(plugins):
        return Mechanism("JobSubmitPlugins", "used", ",".join(plugins))
    detail = f"{','.join(plugins) or 'empty'}: submissions get no GRES, no token and no check against --mem"
    return Mechanism("JobSubmitPlugins", "missing", detail, "add JobSubmitPlugins=lua to slurm.conf")


def _script(settings: Settings) -> Mechanism:
    path = Path(first(settings, "SLURM_CONF") or "/etc/slurm/slurm.conf").parent / "job_submit.lua"
    try:
        calls = re.search(r"^[^-]*\brequire\b.*\btierwise\b", path.read_text(errors="replace"), re.MULTILINE)
    except OSError as error:
        return Mechanism("job_submit.lua", "missing", f"{path}: {error.strerror}", "see docs/admin.md, the hook")
    if calls:
        return Mechanism("job_submit.lua", "used", f"{path} calls tierwise")
    return Mechanism(
        "job_submit.lua", "missing", f"{path} does not call tierwise", "add the two lines of docs/admin.md"
    )


def _lua_socket(settings: Settings) -> Mechanism:
    name = "lua-socket"
    plugin = next((Path(folder) / "job_submit_lua.so" for folder in items(settings, "PluginDir")), Path())
    try:
        found = re.search(rb"liblua-?(5\.\d)", plugin.read_bytes())
    except OSError as error:
        return Mechanism(name, "missing", f"{plugin}: {error.strerror}", "install Slurm's job_submit/lua plugin")
    version = found[1].decode() if found else "5.1"
    library = lua_module(version, _LUA_FOLDERS)
    if library is not None:
        return Mechanism(name, "used", f"{library}, for the Lua {version} of job_submit/lua")
    detail = f"Slurm's Lua is {version}, and no {version}/socket/unix.so lies in its folders: jobs go in unchanged"
    return Mechanism(name, "missing", detail, "install lua-socket (Debian) or lua-socket for that Lua (EPEL)")


def lua_module(version: str, folders: Sequence[str]) -> str | None:
    """Where lua-socket's unix sockets for Lua `version` lie, or None."""
    return next((path for folder in folders for path in glob(f"{folder}/{version}/socket/unix.so")), None)


def _hook_socket(path: str) -> Mechanism:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(1.0)
        try:
            peer.connect(path)
        except OSError as error:
            reason = f"{path}: {error.strerror or error}: jobs go in unchanged"
            return Mechanism("hook socket", "missing", reason, "start tierwise-decision on the controller's host")
    return Mechanism("hook socket", "used", path)

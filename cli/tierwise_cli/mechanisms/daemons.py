"""Doctor's rows for our own daemons, and for MUNGE between them."""

from tierwise.config import Config
from tierwise.errors import TierwiseError
from tierwise.messages import Mechanism
from tierwise.munge import Munge
from tierwise_cli import asking
from tierwise_cli.settings import Settings


def munge(config: Config) -> Mechanism:
    """Whether this host can make and read a credential."""
    try:
        keeper = Munge(config.munge.socket)
        keeper.decode(keeper.encode(b""))
    except TierwiseError as error:
        return Mechanism("MUNGE", "missing", str(error), "start munged, or set munge.socket")
    return Mechanism("MUNGE", "used", config.munge.socket or "libmunge's default socket")


def decision(settings: Settings) -> Mechanism:
    """Whether the decision service answers, and how it is."""
    name = "decision service"
    try:
        with asking.service(settings) as service:
            health = service.health()
    except TierwiseError as error:
        return Mechanism(name, "missing", f"{error}: jobs go in unchanged", "systemctl status tierwise-decision")
    if health.ok:
        return Mechanism(name, "used", f"{health.version}, {health.nodes_up} nodes up, {health.database}")
    return Mechanism(name, "fallback", "; ".join(health.problems) or "degraded", "tierctl health")


def kernel(settings: Settings) -> dict[str, list[Mechanism]]:
    """What the agents of this host say of its kernel, the first in full, of the others what differs.

    Without an agent it is one row that says so.
    """
    try:
        paths = asking.agent_sockets(settings)
    except TierwiseError as error:
        return {"Node agent": [_silent(error)]}
    groups: dict[str, list[Mechanism]] = {}
    first: list[Mechanism] = []
    for path in paths:
        try:
            said = asking.mechanisms(path)
            rows = [Mechanism("node agent", "used", path), *(row for row in said if row not in first)]
            first = first or said
        except TierwiseError as error:
            rows = [_silent(error)]
        groups[f"Node {asking.agent_name(settings.config, path)}"] = rows
    return groups


def _silent(error: TierwiseError) -> Mechanism:
    return Mechanism("node agent", "missing", str(error), "systemctl status tierwise-agent")

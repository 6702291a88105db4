"""`tierwise-agent`: the command."""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys

import msgspec

from tierwise import __version__
from tierwise.config import AgentConfig, load_config
from tierwise.errors import TierwiseError
from tierwise.units import format_size
from tierwise_node import pages
from tierwise_node.numa import NumaNodes
from tierwise_node.tiers import Topology

log = logging.getLogger(__name__)


def main() -> None:
    """Run the agent of one node, or print the tiers that it would find."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        if options.print_tiers:
            _print_tiers(options)
        else:
            _run(options)
    except TierwiseError as error:
        sys.exit(f"tierwise-agent: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tierwise-agent", description="The Tierwise agent of one Slurm node.")
    parser.add_argument("--config", metavar="FILE", help="default: $TIERWISE_CONFIG or /etc/tierwise/tierwise.toml")
    parser.add_argument(
        "--node",
        metavar="NAME",
        default=socket.gethostname().split(".")[0],
        help="Slurm's NodeName; default: the host's",
    )
    parser.add_argument("--print-tiers", action="store_true", help="print the node's memory tiers and exit")
    parser.add_argument("--json", action="store_true", help="with --print-tiers: as JSON")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    options = parser.parse_args()
    if options.json and not options.print_tiers:
        parser.error("--json goes with --print-tiers")
    return options


def _run(options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise TierwiseError("the agent moves other users' pages: run it as root")
    _step_aside(_topology(load_config(options.config).agent))
    from tierwise_node.agent import Agent, settle_in  # noqa: PLC0415  most of its memory: it has to come after that

    settle_in()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Agent(options.node, lambda: load_config(options.config)).run())


def _step_aside(topology: Topology) -> None:
    """Have the agent's own memory on the slowest tier: the fast ones are for jobs. A policy that it was started with
    stays (systemd.exec(5), NUMAPolicy=)."""
    *faster, slowest = topology.order
    if not faster:
        return
    try:
        pages.live_on(topology.nodes([slowest]), topology.nodes(faster))
    except OSError as error:
        log.warning("the agent's own memory stays where it is: %s", error)


def _topology(agent: AgentConfig) -> Topology:
    return Topology(NumaNodes(), agent.tiers, pages.probe, agent.capacity_share)


def _print_tiers(options: argparse.Namespace) -> None:
    tiers = _topology(load_config(options.config).agent).tiers()
    if options.json:
        print(msgspec.json.encode(tiers).decode())
        return
    for tier in tiers:
        nodes = ",".join(map(str, tier.numa_nodes))
        print(
            f"{tier.name:6} nodes {nodes:8} {format_size(tier.capacity):>10}, {format_size(tier.free):>10} free, "
            f"{tier.latency_ns} ns, {tier.bandwidth / 1e9:.1f} GB/s ({tier.source})"
        )


if __name__ == "__main__":
    main()

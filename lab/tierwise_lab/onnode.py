"""Runs in a virtual node: starts this node's part of the cluster and leaves it running.

`describe` prints what this node has, as JSON. `start` reads all nodes' descriptions from its input, starts controller
and decision service on node1, slurmd and agent on every node, and prints the environment that commands need. They have
to be everybody's real sizes: nodes of one topology differ by some MiB from boot to boot, and one that registers less of
a GRES than slurm.conf says is drained.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import msgspec

from tierwise_lab import native
from tierwise_lab.daemons import LabError
from tierwise_lab.options import Node, StackOptions
from tierwise_lab.stack import Stack

CONTROLLER = "node1"
MUNGE_KEY = Path("/etc/munge/munge.key")


def here() -> Node:
    """This virtual node."""
    return native.this_host(socket.gethostbyname(socket.gethostname()))


def options(cluster: tuple[Node, ...] = ()) -> StackOptions:
    """The part of a stack that runs here; of a cluster of one node by default."""
    name = socket.gethostname()
    return StackOptions(
        cluster=cluster or (here(),),
        local=(name,),
        controller=name == CONTROLLER,
        controller_host=(CONTROLLER, socket.gethostbyname(CONTROLLER)),
        munge_key=MUNGE_KEY if MUNGE_KEY.exists() else None,
    )


def main() -> None:
    """The argument says which: describe or start."""
    if sys.argv[1:] == ["describe"]:
        print(msgspec.json.encode(here()).decode())
        return
    try:
        stack = Stack(options(msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Node, ...])))
        stack.start_all()
    except LabError as error:
        sys.exit(f"tierwise_lab.onnode: {error}")
    print(json.dumps(stack.environment("root")))
    stack.keep()


if __name__ == "__main__":
    main()

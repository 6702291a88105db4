"""Runs in a virtual node: starts this node's part of the cluster and leaves it running.

Controller and decision service on node1, slurmd and agent on every node; the nodes are all alike. Prints, as JSON, the
environment that commands need.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from pathlib import Path

from tierwise_lab import native
from tierwise_lab.daemons import LabError
from tierwise_lab.options import Node, StackOptions
from tierwise_lab.stack import Stack

CONTROLLER = "node1"
MUNGE_KEY = Path("/etc/munge/munge.key")


def count() -> int:
    """How many nodes the cluster has: the kernel's command line says it."""
    words = dict(word.partition("=")[::2] for word in Path("/proc/cmdline").read_text().split())
    return int(words["lab.nodes"])


def options() -> StackOptions:
    """The stack of this virtual node, for tests that start one with choices of their own: `dataclasses.replace`."""
    here = native.this_host(socket.gethostbyname(socket.gethostname()))
    return StackOptions(
        cluster=tuple(_like(here, number) for number in range(1, count() + 1)),
        local=(here.name,),
        controller=here.name == CONTROLLER,
        controller_host=(CONTROLLER, socket.gethostbyname(CONTROLLER)),
        munge_key=MUNGE_KEY if MUNGE_KEY.exists() else None,
    )


def _like(here: Node, number: int) -> Node:
    name = f"node{number}"
    return dataclasses.replace(here, name=name, host=name, address=socket.gethostbyname(name))


def main() -> None:
    """Start, print the environment, leave running."""
    try:
        stack = Stack(options())
        stack.start_all()
    except LabError as error:
        sys.exit(f"tierwise_lab.onnode: {error}")
    print(json.dumps(stack.environment("root")))
    stack.keep()


if __name__ == "__main__":
    main()

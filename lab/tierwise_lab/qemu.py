"""One QEMU process: a virtual node's hardware, its console's log, and the two sockets that lead out of it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tierwise_lab.frames import PORT_NAME
from tierwise_lab.image import Image
from tierwise_lab.programs import need
from tierwise_lab.topology import Topology, qemu_options

CPU = "max,-avx,-avx2,-fma,-f16c,-vaes,-vpclmulqdq"
"""Without AVX2: QEMU 7.2 gathers through the wrong register where the index is xmm4 (its issue 2474), and numpy's
argsort then crashes. So without AVX too: with one of the two alone libgcrypt, and so munged, dies of SIGILL."""


def command(
    topology: Topology,
    image: Image,
    layer: Path,
    *,
    accel: str,
    node: int,
    nodes: int,
    console: Path,
    port: int,
    network: int | None,
    extra: Sequence[str] = (),
) -> list[str]:
    """QEMU's command line for node number `node` (from 1) of `nodes`.

    `port` and `network` are inherited file descriptors: a stream that carries `frames`, and a datagram socket that
    carries one Ethernet frame each. `extra` are options that come last and so overrule ours.
    """
    argv = [
        "qemu-system-x86_64",
        *("-machine", "q35,hmat=on", "-accel", accel, "-cpu", CPU),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *qemu_options(topology),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-append", f"console=ttyS0 quiet panic=-1 psi=1 lab.node={node} lab.nodes={nodes}"),
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
        # snapshot=on: what the guest writes goes to a temporary file that is gone with it
        *("-drive", f"file={image.disk},if=virtio,format=raw,cache=unsafe,snapshot=on"),
        *("-drive", f"file={layer},if=virtio,format=raw,readonly=on"),
        *("-chardev", f"socket,id=port,fd={port}", "-device", "virtio-serial-pci"),
        *("-device", f"virtserialport,chardev=port,name={PORT_NAME}"),
    ]
    if network is not None:
        argv += ["-netdev", f"dgram,id=net,local.type=fd,local.str={network}"]
        argv += ["-device", f"virtio-net-pci,netdev=net,mac=52:54:00:00:00:{node:02x},romfile="]
    return [*argv, *extra]


def start(argv: list[str], ends: list[socket.socket], folder: Path) -> subprocess.Popen[bytes]:
    """Start it outside the terminal's process group, so that Ctrl-C is ours to handle, and so that the kernel kills it
    when the thread that called this ends, however that happens. It inherits `ends`.

    What the guest writes goes to files in `folder`. QEMU unlinks them once they are open, but a QEMU that is killed
    before leaves them: whoever made the folder removes it.
    """
    need("qemu-system-x86_64", "setpriv")
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
        pass_fds=[end.fileno() for end in ends],
    )

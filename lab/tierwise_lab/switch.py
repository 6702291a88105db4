"""The virtual nodes' own network: an Ethernet switch between their datagram sockets. Nothing leads to the host."""

from __future__ import annotations

import select
import selectors
import socket
import threading

BROADCAST_BIT = 1  # of a MAC address's first byte: broadcast and multicast
FULL_WAIT_MS = 50  # a guest reads at once unless it hangs; then the frame is dropped, as on a real wire
FRAME = 1 << 16


class Switch:
    """One port per node; node N has the MAC address that ends in N."""

    def __init__(self) -> None:
        self._ports: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)

    def plug(self, node: int) -> socket.socket:
        """A new port for a node, as the end that its QEMU inherits. Before `start`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self._ports[node] = ours
        self._selector.register(ours, selectors.EVENT_READ, node)
        return theirs

    def start(self) -> None:
        """Carry frames until `close`."""
        self._thread = threading.Thread(target=self._carry, name="lab-switch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop carrying and close all ports."""
        if hasattr(self, "_thread"):
            self._ringer.send(b"x")
            self._thread.join()
        for end in (*self._ports.values(), self._bell, self._ringer):
            end.close()
        self._selector.close()

    def _carry(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._bell:
                    return
                try:
                    frame = self._ports[key.data].recv(FRAME)
                except BlockingIOError:
                    continue
                except ConnectionError:
                    frame = b""
                if frame:
                    self._forward(key.data, frame)
                else:  # its QEMU is gone
                    self._selector.unregister(key.fileobj)

    def _forward(self, source: int, frame: bytes) -> None:
        everyone = frame[0] & BROADCAST_BIT
        for node, port in self._ports.items():
            if node != source and (everyone or node == frame[5]):
                self._send(port, frame)

    def _send(self, port: socket.socket, frame: bytes) -> None:
        try:
            port.send(frame)
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(port, select.POLLOUT)
            if waiting.poll(FULL_WAIT_MS):
                self._send(port, frame)
        except OSError:
            return  # that node is dead

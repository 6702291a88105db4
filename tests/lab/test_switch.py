"""The virtual nodes' Ethernet: a frame goes where its address says, and a dead node is in nobody's way."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from tierwise_lab.switch import Switch

PATIENCE_S = 5.0


def ethernet(target: int | None, text: bytes = b"hello") -> bytes:
    to = b"\xff" * 6 if target is None else bytes([0x52, 0x54, 0, 0, 0, target])
    return to + b"\x52\x54\0\0\0\x09" + b"\x08\x00" + text


@pytest.fixture
def ends() -> Iterator[dict[int, socket.socket]]:
    switch = Switch()
    plugged = {node: switch.plug(node) for node in (1, 2, 3)}
    for end in plugged.values():
        end.settimeout(PATIENCE_S)
    switch.start()
    yield plugged
    switch.close()
    for end in plugged.values():
        end.close()


def silent(end: socket.socket) -> bool:
    return not select.select([end], [], [], 0)[0]


def test_a_frame_reaches_only_its_target(ends: dict[int, socket.socket]) -> None:
    ends[1].send(ethernet(3))
    assert ends[3].recv(100) == ethernet(3)
    assert silent(ends[2])
    assert silent(ends[1])


def test_a_broadcast_reaches_all_others(ends: dict[int, socket.socket]) -> None:
    ends[2].send(ethernet(None))
    assert ends[1].recv(100) == ends[3].recv(100) == ethernet(None)
    assert silent(ends[2])


def test_the_others_go_on_without_a_dead_node(ends: dict[int, socket.socket]) -> None:
    ends[2].close()
    ends[1].send(ethernet(2))
    ends[1].send(ethernet(None))
    assert ends[3].recv(100) == ethernet(None)
    ends[3].send(ethernet(1))
    assert ends[1].recv(100) == ethernet(1)


def test_one_that_reads_nothing_delays_but_does_not_stop(ends: dict[int, socket.socket]) -> None:
    for _ in range(50):  # more than a socket queues
        ends[1].send(ethernet(2))
    ends[1].send(ethernet(3))
    assert ends[3].recv(100) == ethernet(3)

"""The agent's socket and peers who ask too often, or don't read their answers."""

from __future__ import annotations

import asyncio
import os
import socket
from itertools import count, takewhile
from pathlib import Path

import pytest

from tierwise_node.server import BURST, MOST_USERS, RATE, Paces, Peer, Reply, Server

ALICE, BOB = 1000, 1001


def test_a_burst_is_answered_at_once_and_then_a_loop_waits() -> None:
    paces, now = Paces(), 100.0
    at_once = sum(1 for _ in takewhile(lambda wait: wait == 0.0, (paces.wait(ALICE, now) for _ in count())))
    assert abs(at_once - BURST) <= 1
    assert [paces.wait(uid, now) for uid in (BOB, 0)] == [0.0, 0.0]
    waits = [paces.wait(ALICE, now) for _ in range(100)]
    assert waits == sorted(waits)
    assert abs(waits[-1] - 101 / RATE) < 2 / RATE
    assert paces.wait(ALICE, now + waits[-1] + 1.0) == 0.0, "who was silent meanwhile"


def test_roots_questions_are_never_counted() -> None:
    paces = Paces()
    assert {paces.wait(0, 1.0) for _ in range(2 * BURST)} == {0.0}


def test_users_who_are_silent_are_forgotten() -> None:
    paces = Paces()
    for uid in range(1, 2 * MOST_USERS):
        paces.wait(uid, float(uid))
    assert len(paces._due) <= MOST_USERS


def test_a_peer_that_does_not_read_keeps_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierwise_node.server.PATIENCE", 0.1)

    async def long(_peer: Peer, _fields: dict[str, str]) -> Reply:
        return {"status": "ok", "json": "x" * 10_000}

    async def scene() -> None:
        server = Server(tmp_path / "agent.sock", long)
        await server.start()
        before = len(os.listdir("/proc/self/fd"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(server.path))
            peer.sendall(b"op=status\n\n" * 100)
            async with asyncio.timeout(30):
                while len(os.listdir("/proc/self/fd")) != before + 2:  # both ends: the answers have begun
                    await asyncio.sleep(0.01)
                while len(os.listdir("/proc/self/fd")) != before + 1:  # and ended: there is ours alone
                    await asyncio.sleep(0.01)
        await server.stop()

    asyncio.run(scene())

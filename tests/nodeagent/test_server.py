"""How fast one user may ask the agent."""

from __future__ import annotations

from itertools import count, takewhile

from tierwise_node.server import BURST, MOST_USERS, RATE, Paces

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

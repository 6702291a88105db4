"""Turns at a source that many nodes want to stage: counted by the real service, and by its clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from decision_service import Service

from tierwise.errors import RefusedError
from tierwise.messages import ReadTurn
from tierwise_decision.readers import LASTS, MOST_SOURCES, Readers

SOURCE, OTHER = "ab" * 32, "cd" * 32


def test_no_more_nodes_than_configured_read_one_source(make_service: Callable[..., Service]) -> None:
    client = make_service(config="stage_readers = 2").start().client()

    def ask(node: str, source: str = SOURCE, *, done: bool = False) -> bool:
        return client.read_turn(ReadTurn(node, source, done))

    assert [ask("n1"), ask("n2"), ask("n3"), ask("n1")] == [True, True, False, True]
    assert ask("n3", OTHER)
    assert not ask("n1", done=True)
    assert [ask("n3"), ask("n1")] == [True, False]
    with pytest.raises(RefusedError):
        ask("n1", "../../etc/passwd")


def test_a_node_that_died_loses_its_turn() -> None:
    readers = Readers(1)
    assert readers.ask(ReadTurn("n1", SOURCE), 0.0)
    assert not readers.ask(ReadTurn("n2", SOURCE), LASTS - 1)
    assert readers.ask(ReadTurn("n2", SOURCE), LASTS + 1)
    assert not readers.ask(ReadTurn("n1", SOURCE), LASTS + 2)


def test_what_is_remembered_is_bounded() -> None:
    readers = Readers(1)
    for number in range(MOST_SOURCES + 10):
        assert readers.ask(ReadTurn("n1", f"{number:064x}"), 0.0)
    assert readers.ask(ReadTurn("n2", f"{0:064x}"), 1.0)
    assert not readers.ask(ReadTurn("n2", f"{MOST_SOURCES:064x}"), 1.0)

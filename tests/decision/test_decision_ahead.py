"""What pending jobs will read: told once, fetched once by each node that there is, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from tierwise.errors import ProtocolError
from tierwise.telemetry import StageAhead
from tierwise_decision import ahead as ahead_module
from tierwise_decision.ahead import MOST_AT_ONCE, MOST_PER_NODE, Ahead


def tell(ahead: Ahead, stage: str, nodes: str, uid: str = "1000") -> None:
    told = asyncio.run(ahead.told({"op": "ahead", "job_id": "7", "uid": uid, "stage": stage, "nodes": nodes}))
    assert told == {"status": "ok"}


def paths(ahead: Ahead, node: str) -> list[str]:
    return [order.path for order in ahead.take(node)]


def test_each_node_fetches_it_once() -> None:
    ahead = Ahead(lambda node: node != "n3")
    tell(ahead, "/a,/b", "n[1-3]")
    tell(ahead, "/a", "n1")
    assert ahead.take("n1") == (StageAhead(1000, "/a"), StageAhead(1000, "/b"))
    assert ahead.take("n1") == ()
    assert paths(ahead, "n2") == ["/a", "/b"]
    assert paths(ahead, "n3") == []  # nobody knows it


def test_a_node_that_does_not_come_for_it_gets_it_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = Ahead(lambda _: True)
    monkeypatch.setattr(ahead_module, "LASTS", 0.0)
    tell(ahead, "/a", "n1")
    assert paths(ahead, "n1") == []


def test_it_is_bounded() -> None:
    ahead = Ahead(lambda _: True)
    for number in range(3 * MOST_PER_NODE):
        tell(ahead, f"/{number},/{number}/more", "n1")
    assert len(paths(ahead, "n1")) == MOST_PER_NODE
    for stage, nodes, uid in (
        ("/a", f"n[1-{MOST_AT_ONCE + 1}]", "1"), ("/a", "n[1-99999999]", "1"), ("/a", "n[", "1"), ("", "n1", "1"),
        ("/a,,/b", "n1", "1"), ("/" * 4097, "n1", "1"), ("/a", "n1", "-1"), ("/a", "n1", ""),
    ):  # fmt: skip
        with pytest.raises(ProtocolError):
            tell(ahead, stage, nodes, uid)
    assert paths(ahead, "n2") == []

"""Agents that know several services go on with the next one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from decision_service import Service, node_sample

from tierwise.config import AgentConfig, Config
from tierwise.errors import UnavailableError
from tierwise_node.service import Service as Line


def test_the_next_service_is_asked_where_one_is_dead(service: Service, tmp_path: Path) -> None:
    dead = str(tmp_path / "decision.sock")
    line = Line(Config(agent=AgentConfig(service=(dead, str(service.socket)))))
    nobody = Line(Config(agent=AgentConfig(service=(dead, f"{dead}2"))))
    try:
        for node in ("n1", "n2"):
            asyncio.run(line.sample(node_sample(node)))
        with service.client() as client:
            assert {"n1", "n2"} <= {view.sample.node for view in client.nodes()}
        with pytest.raises(UnavailableError, match=rf"at {dead}:.*; .*at {dead}2:"):
            asyncio.run(nobody.sample(node_sample("n3")))
    finally:
        line.close()
        nobody.close()

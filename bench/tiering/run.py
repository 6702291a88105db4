"""Trials: some jobs in one environment on a booted node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from tierwise_lab.guest import Guest

ENVIRONMENT = {"PYTHONPATH": "/opt/tierwise/bench:/bench/site"}
PATIENCE_S = 900.0
_ids = count(100, 10)


def trial(
    guest: Guest, environment: str, jobs: Mapping[str, str], free: Mapping[int, int], memory: Mapping[str, int]
) -> dict[str, Any]:
    """Run these jobs (workflow: directive) together on the booted node; what `tiering.inside.node` says of it."""
    asked = {"environment": environment, "jobs": jobs, "free": free, "memory": memory, "first_id": next(_ids)}
    done = guest.run(
        ["python3", "-m", "tiering.inside.node"],
        input=json.dumps(asked).encode(),
        env=ENVIRONMENT,
        timeout=PATIENCE_S,
        check=True,
    )
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome | {"environment": environment}

"""What the guest's tests share with those of the agent's room: hand-made jobs and a real agent."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "nodeagent"))

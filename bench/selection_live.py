"""Node selection live: `make bench-selection-live`, about ten minutes.

Three virtual nodes with a real Slurm, real agents and weights turned on. One is loaded from outside Slurm, a busy loop
for each CPU. Then thirty jobs run, never more at a time than the other two nodes can take: none may land on the loaded
one. It must be named as a straggler, and freed once the load ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from figures import Figure, publish

from tierwise_lab.daemons import LabError
from tierwise_lab.guest import Guest

JOBS, AT_ONCE = 30, 2
LOADED = "node2"
PATIENCE = 900.0
LOOP = "while :; do :; done"
TURN_ON = (
    'sed -i \'s/^\\[service\\]$/[service]\\nweights = ["main"]/\' "$TIERWISE_CONFIG"'
    " && pkill -HUP -f '[t]ierwise.decision'"
)


class Cluster:
    """The running guests; every command on the first."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.environment = guest.start_stack()

    def sh(self, script: str) -> str:
        """What a shell script prints."""
        return self.guest.run(["sh", "-c", script], env=self.environment, check=True, timeout=300).stdout

    def asked(self, *command: str) -> Any:
        """What tierctl answers, as JSON; None while it can't."""
        done = self.guest.run(["tierctl", *command, "--json"], env=self.environment, timeout=300)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def until(self, condition: Callable[[], Any], what: str) -> float:
        """Seconds until something is so. Raises LabError."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() > started + PATIENCE:
                raise LabError(f"{what}: not within {PATIENCE:g} s")
            time.sleep(2)
        return time.monotonic() - started

    def stragglers(self) -> list[str]:
        """The nodes that are named."""
        return [mark["node"] for mark in self.asked("straggler", "list") or [] if mark["state"] == "named"]

    def weight(self, node: str) -> int:
        """Slurm's, now."""
        return int(self.sh(f"sinfo -h -N -n {node} -o %w").split()[0])

    def run_jobs(self) -> list[str]:
        """Where each of the jobs ran: as many at a time as the idle nodes take."""
        places: list[str] = []
        while len(places) < JOBS:
            submit = "; ".join(["sbatch -Q --parsable --exclusive --mem=50 -o /dev/null --wrap 'sleep 3'"] * AT_ONCE)
            ids = self.sh(submit).split()
            self._until_ended(ids)
            nodes = self.sh(f"squeue -h -j {','.join(ids)} -t all -o %N").split()
            places += nodes
            print(f"{len(places)} jobs: {nodes}", flush=True)
        return places

    def _until_ended(self, ids: list[str]) -> None:
        waiting = f"squeue -h -j {','.join(ids)} -t PD,R,CG -o %i"
        self.until(lambda: not self.sh(waiting).strip(), "jobs to end")


def main() -> None:
    with Guest("small", nodes=3) as guest:
        cluster = Cluster(guest)
        cluster.sh(TURN_ON)
        cluster.until(lambda: all(cluster.weight(f"node{n}") >= 1000 for n in (1, 2, 3)), "weights to be published")
        loops = guest.nodes[1].start(["sh", "-c", f"nproc | xargs seq | xargs -P 64 -I@ sh -c '{LOOP}'"])
        named = cluster.until(lambda: LOADED in cluster.stragglers(), f"{LOADED} to be named")
        cluster.until(lambda: cluster.weight(LOADED) == 1001, f"the weight of {LOADED}")
        places = cluster.run_jobs()
        explained = cluster.asked("explain", cluster.sh("squeue -h -t all -o %i | sort -n | tail -1").strip())
        said = next((one["sentence"] for one in (explained or {}).get("verdicts", []) if one["node"] == LOADED), "")
        print(f"tierctl explain of the last job says of {LOADED}: {said}")
        guest.nodes[1].run(["pkill", "-f", LOOP.split(";", maxsplit=1)[0]], timeout=60)
        freed = cluster.until(lambda: not cluster.stragglers(), f"{LOADED} to be freed")
        del loops
    figures = [
        Figure("jobs", "jobs while one of three nodes is loaded", len(places)),
        Figure("jobs_on_loaded_node", "… on the loaded node", places.count(LOADED), at_most=0),
        Figure("seconds_to_name", "seconds until it was named a straggler", named),
        Figure("seconds_to_free", "seconds from the load's end until it was freed", freed),
    ]
    print(publish("selection-live", figures, 1))


if __name__ == "__main__":
    main()

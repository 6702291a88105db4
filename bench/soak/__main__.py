"""`python -m soak`: natively, or with --guest on a virtual node with memory tiers. `make soak` does both."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import click
import figures
from figures import Figure, publish

from soak.programs import repertoire
from soak.watch import Samples, bad_reports, busy, gained, growth, kinds, plans_left, protected, running_kdamonds
from tierwise.client import DecisionClient
from tierwise_lab import onnode
from tierwise_lab.daemons import LabError, wait_until
from tierwise_lab.guest import Guest
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

DIRECTIVES = ("", "lat", "cap", "bw", "shl", "lat:20M,cap", "bw:50%,cap", "off")
AT_ONCE = 5
"""Jobs that run or wait at once."""
KILL_EACH = 60.0
CALM = 180.0
"""Seconds for the last reports to arrive."""
IN_GUEST, OUT = "/opt/tierwise", Path("/out")


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="How long jobs come and go.")
@click.option("--guest", is_flag=True, help="On a virtual node with memory tiers.")
@click.option("--inside", is_flag=True, hidden=True)
@click.option("--seed", default=1, show_default=True, help="Of the random choices.")
def main(minutes: float, guest: bool, inside: bool, seed: int) -> None:
    """Jobs start and die at random, the agent is killed every minute; then nothing may be left."""
    if guest:
        sys.exit(_in_guest(minutes, seed))
    options = onnode.options() if inside else StackOptions(nodes=1)
    with Stack(options) as stack:
        found = Soak(stack, random.Random(seed), slow=inside).run(minutes * 60)
    if inside:
        figures.BUILD = OUT  # the checkout is read-only there
    publish("soak_guest" if inside else "soak", found, 1, "make soak")
    sys.exit(0 if all(figure.holds for figure in found) else 1)


def _in_guest(minutes: float, seed: int) -> int:
    with Guest() as guest:
        node = guest.nodes[0]
        argv = ["python3", "-m", "soak", "--inside", f"--minutes={minutes}", f"--seed={seed}"]
        path = f"{IN_GUEST}/bench:{IN_GUEST}/lab:{IN_GUEST}/site"
        command = node.start(argv, env={"PYTHONPATH": path}, stdout=sys.stdout.buffer, stderr=sys.stderr.buffer)
        done = command.wait(minutes * 60 + 1200)
        figures.BUILD.mkdir(parents=True, exist_ok=True)
        node.copy_out(f"{OUT}/soak_guest.json", figures.BUILD)
    return done.returncode


class Soak:
    """One run on one stack. `slow`: an emulated machine, where hostile jobs are ten times smaller."""

    def __init__(self, stack: Stack, chance: random.Random, slow: bool) -> None:
        self._stack, self._chance = stack, chance
        self._programs = repertoire(*((200, 6000) if slow else (2000, 30_000)))
        self._agents = [name for name in stack.daemons if name.startswith("agent-")]
        self._client = DecisionClient(str(stack.layout.decision_socket), timeout=30.0)
        self._lives, self._service = Samples(), Samples()
        self._started: set[int] = set()
        self._submitted = self._kills = self._kdamonds = 0
        self._cpu = 0.0
        self._lived = 0.0

    def run(self, seconds: float) -> list[Figure]:
        """Jobs for so long, then calm, then what is left."""
        fresh, self._kdamonds = kinds(self._pid("decision")), running_kdamonds()
        begun = time.monotonic()
        killed = begun
        while time.monotonic() - begun < seconds:
            self._step()
            if time.monotonic() - killed >= KILL_EACH:
                self._kill_agents(time.monotonic() - killed)
                killed = time.monotonic()
        self._stack.run(["scancel", "--quiet", "--user=tierwise-alice"], user="root")
        figures = self._figures(seconds)
        click.echo(f"soak: the service has more open: {dict(kinds(self._pid('decision')) - fresh)}", err=True)
        return figures

    def _step(self) -> None:
        """One second: something happens to some job."""
        queue = self._queue()
        self._started |= {job for job, state in queue.items() if state == "RUNNING"}
        running = [job for job, state in queue.items() if state == "RUNNING"]
        if len(queue) < AT_ONCE:
            self._submit()
        elif running and self._chance.random() < 0.3:
            what = self._chance.choice((["scancel"], ["scancel", "--signal=KILL"], ["scontrol", "suspend"]))
            job = str(self._chance.choice(running))
            self._stack.run([*what, job], user="root")
        suspended = [job for job, state in queue.items() if state == "SUSPENDED"]
        if suspended and self._chance.random() < 0.5:
            self._stack.run(["scontrol", "resume", str(suspended[0])], user="root")
        self._service.add(self._pid("decision"))
        time.sleep(1)

    def _submit(self) -> None:
        name = self._chance.choice(list(self._programs))
        script, memory = self._programs[name]
        directive = self._chance.choice(DIRECTIVES)
        limit = self._chance.choice((1, 2))
        words = [f"--tier={directive}"] if directive else []
        arguments = [*words, f"--mem={memory}M", "--oversubscribe", f"--time={limit}", "--cpus-per-task=1"]
        self._stack.sbatch(script, *arguments, f"--job-name={name}", "--output=/dev/null")
        self._submitted += 1

    def _queue(self) -> dict[int, str]:
        lines = self._stack.run(["squeue", "-h", "-o", "%A %T"], user="root").stdout.splitlines()
        return {int(job): state for job, state in (line.split() for line in lines)}

    def _kill_agents(self, lived: float) -> None:
        for name in self._agents:
            self._lives.add(self._pid(name))
            self._cpu += busy(self._pid(name))
            self._lived += lived
            self._stack.kill9(name)
            self._stack.start(name)
        self._kills += 1

    def _pid(self, name: str) -> int:
        pid = self._stack.daemons[name].pid
        if pid is None:
            raise LabError(f"{name} has ended: {self._stack.log(name)[-2000:]}")
        return pid

    def _figures(self, seconds: float) -> list[Figure]:
        left = self._calm()
        open_more = max(gained(self._lives.descriptors), gained(self._service.descriptors))
        wrong = bad_reports(self._client, self._started)
        for line in [*wrong[:20], *protected()]:
            click.echo(line, err=True)
        unplanned = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        return [
            Figure("minutes", "minutes of jobs that come and go", seconds / 60),
            Figure("jobs", "jobs that were submitted", self._submitted),
            Figure("started", "of which ran", len(self._started), at_least=1),
            Figure("kills", "times that the agent was killed", self._kills),
            Figure("leaked_descriptors", "descriptors, late less early", open_more, at_most=1),
            Figure("agent_memory_growth", "agents' memory, late over early", growth(self._lives.memory), at_most=1.15),
            Figure("service_memory_growth", "the service's", growth(self._service.memory), at_most=1.25),
            Figure("agent_mib", "largest agent, MiB of its own", max(self._lives.memory, default=0) / 2**20),
            Figure("agent_cpu_percent", "the agents' CPU, percent of one", 100 * self._cpu / max(self._lived, 1)),
            Figure("kdamonds_left", "kdamonds left behind", running_kdamonds() - self._kdamonds, at_most=0),
            Figure("plans_left", "plans that did not end", left, at_most=0),
            Figure("reports_missing", "jobs without a whole report", len(wrong), at_most=0),
            Figure("protected_left", "cgroups left with memory.min", len(protected()) if unplanned else 0, at_most=0),
        ]

    def _calm(self) -> int:
        """Wait until no job is left and its reports have come; how many plans are left then."""
        try:
            wait_until(lambda: not self._queue(), "the queue to be empty", CALM)
            wait_until(lambda: not plans_left(self._stack), "every plan to end", CALM)
            wait_until(lambda: not bad_reports(self._client, self._started), "every report", CALM)
            wait_until(lambda: running_kdamonds() <= self._kdamonds, "our kdamonds to end", 30)
        except LabError as error:
            click.echo(f"soak: {error}", err=True)
        return len(plans_left(self._stack))


if __name__ == "__main__":
    main()

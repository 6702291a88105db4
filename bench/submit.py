"""What Tierwise costs a submission and a task's start: `make bench-submit`, as root. About four minutes.

Two private Slurms on this machine, one with Tierwise and one without, take turns, so that both see the same machine.
The jobs submitted may start in an hour: what is measured is the submission. Slurm, the decision service, the agent and
the clients share this machine's cores.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from figures import BUILD, Figure, publish
from service import measure

from tierwise_lab.commands import ALICE
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack
from tierwise_policy.allocation import TierRoom, allocate
from tierwise_policy.sizes import SizedClass

HERE = Path(__file__).parent
EMPTY_SCRIPT = """
function slurm_job_submit(job_desc, part_list, submit_uid) return slurm.SUCCESS end
function slurm_job_modify(job_desc, job_rec, part_list, modify_uid) return slurm.SUCCESS end
return slurm.SUCCESS
"""
ROUNDS = 5
# A round's submissions are few: Slurm's own Lua plugin lists all jobs at each submission, us or not.
SERIES = 10  # sbatch in series
PAIRS = 6  # such series of each side
CLIENTS = 4
CLIENT_SUBMISSIONS = 50  # of each of the libslurm clients
ONE_CLIENT = 100  # of the one whose waiting is measured
STARTS = 12  # steps started, a round
ALLOCATIONS = 20_000
GIB = 1 << 30


@contextmanager
def pair() -> Iterator[tuple[Stack, Stack]]:
    """A Slurm with Tierwise and one without, alike but for that."""
    with Stack(StackOptions(nodes=1)) as ours, Stack(StackOptions(nodes=1, with_tierwise=False)) as plain:
        yield ours, plain


def build_client() -> Path:
    """Compile the libslurm client."""
    BUILD.mkdir(parents=True, exist_ok=True)
    client = BUILD / "submit_client"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", client, HERE / "submit_client.c", "-lslurm"], check=True)
    return client


def install_client(stack: Stack, client: Path) -> str:
    """Put the client where the stack's users can run it."""
    target = stack.layout.etc / client.name
    target.write_bytes(client.read_bytes())
    target.chmod(0o755)
    return str(target)


def run(stack: Stack, argv: list[str], user: str = ALICE) -> str:
    """Run a command as a user, or "root"; what it printed. Raises RuntimeError when it fails."""
    done = stack.run(argv, user=user, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)[:200]}: exit {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def sbatch_rate(stack: Stack, series: int = SERIES) -> float:
    """Submissions per second of `sbatch` in series, as a user's loop makes them."""
    tier = "--tier=cap" if stack.options.with_tierwise else ""
    loop = f"for n in $(seq $0); do sbatch -Q {tier} --mem=64 --begin=now+1hour --wrap true || exit; done"
    run(stack, ["sh", "-c", loop, "2"])  # fills the caches again after another Slurm's turn
    started = time.perf_counter()
    run(stack, ["sh", "-c", loop, str(series)])
    return series / (time.perf_counter() - started)


def submit(stack: Stack, client: str, count: int) -> list[tuple[float, float]]:
    """When each submission of one libslurm client began and ended, in seconds."""
    lines = run(stack, [client, str(count), "cap"]).splitlines()
    return [(float(began) / 1e6, float(ended) / 1e6) for began, ended in (line.split() for line in lines)]


def client_rate(stack: Stack, client: str) -> float:
    """Submissions per second of CLIENTS libslurm clients at once, from the first call to the last answer."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = list(pool.map(lambda _: submit(stack, client, CLIENT_SUBMISSIONS), range(CLIENTS)))
    calls = [call for each in clients for call in each]
    return len(calls) / (max(ended for _, ended in calls) - min(began for began, _ in calls))


def client_latencies(stack: Stack, client: str) -> list[float]:
    """Milliseconds of each submission of one libslurm client."""
    return [1e3 * (ended - began) for began, ended in submit(stack, client, ONE_CLIENT)]


def check_planned(stack: Stack) -> None:
    """Every job that was submitted has its plan's token: else what was measured is not Tierwise."""
    comments = stack.run(["squeue", "-h", "-t", "all", "-o", "[%k]"], user="root").stdout.split("\n")[:-1]
    without = sum("tierwise=" not in comment for comment in comments)
    if without or not comments:
        raise RuntimeError(f"{without} of {len(comments)} jobs went in without a plan: {stack.log('slurmctld')[-500:]}")


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def throughput() -> list[Figure]:
    """sbatch in series: with Tierwise, and with Tierwise whose service is dead, against Slurm alone.

    Slurm's own Lua plugin has its price (it lists all jobs at each submission, whatever the script does), so a Slurm
    whose job_submit.lua is empty stands beside them.
    """
    with trio() as (ours, plain, empty):
        alive, beside_empty, _ = series_ratios(ours, plain, empty)
        check_planned(ours)
    with trio() as (ours, plain, empty):  # anew: what that plugin costs grows with the queue
        ours.stop("decision")
        dead, dead_beside_empty, rate = series_ratios(ours, plain, empty)
    return [
        Figure("sbatch_throughput_ratio", "sbatch in series, against Slurm alone", alive, 0.8),
        Figure("sbatch_throughput_ratio_empty", "… against Slurm with an empty job_submit.lua", beside_empty),
        Figure("sbatch_throughput_ratio_dead", "with a dead service, against Slurm alone", dead, 0.95),
        Figure("sbatch_throughput_ratio_dead_empty", "… against an empty job_submit.lua", dead_beside_empty, 0.95),
        Figure("sbatch_per_s_alone", "sbatch in series of Slurm alone, per second", rate),
    ]


@contextmanager
def trio() -> Iterator[tuple[Stack, Stack, Stack]]:
    """A Slurm with Tierwise, one without, and one with a job_submit.lua that does nothing."""
    with pair() as (ours, plain), Stack(StackOptions(nodes=1, with_tierwise=False)) as empty:
        load_empty_script(empty)
        yield ours, plain, empty


def load_empty_script(stack: Stack) -> None:
    """Give a Slurm without us a job_submit.lua that does nothing."""
    (stack.layout.etc / "job_submit.lua").write_text(EMPTY_SCRIPT)
    with stack.layout.slurm_conf.open("a") as conf:
        conf.write("JobSubmitPlugins=lua\n")
    stack.stop("slurmctld")
    stack.start("slurmctld")


def series_ratios(ours: Stack, plain: Stack, empty: Stack) -> tuple[float, float, float]:
    """The throughput of `ours` as a share of `plain`'s and of `empty`'s, and the rate of `plain`.

    Medians of short series that take turns, each side being first as often as the others.
    """
    sides = (ours, plain, empty)
    rates: dict[Stack, list[float]] = {stack: [] for stack in sides}
    for turn in range(ROUNDS * PAIRS):
        for place in range(len(sides)):
            stack = sides[(turn + place) % len(sides)]
            rates[stack].append(sbatch_rate(stack))

    def share(of: Stack) -> float:
        return statistics.median(us / them for us, them in zip(rates[ours], rates[of], strict=True))

    return share(plain), share(empty), statistics.median(rates[plain])


def latency() -> list[Figure]:
    """What is added to each submission of one libslurm client."""
    client = build_client()
    with pair() as (ours, plain):
        took: dict[Stack, list[float]] = {ours: [], plain: []}
        programs = {stack: install_client(stack, client) for stack in took}
        for _ in range(ROUNDS):
            for stack, program in programs.items():
                took[stack].extend(client_latencies(stack, program))
        check_planned(ours)
    median = statistics.median(took[ours]) - statistics.median(took[plain])
    p99 = percentile(took[ours], 0.99) - percentile(took[plain], 0.99)
    return [
        Figure("submit_added_ms_median", "added to a submission, median ms", median, at_most=1.5),
        Figure("submit_added_ms_p99", "… 99th percentile ms", p99, at_most=200),
    ]


def clients() -> list[Figure]:
    """Four libslurm clients at once."""
    client = build_client()
    with pair() as (ours, plain):
        programs = {stack: install_client(stack, client) for stack in (ours, plain)}
        rates = [[client_rate(stack, program) for stack, program in programs.items()] for _ in range(ROUNDS)]
        check_planned(ours)
    with_us, alone = (statistics.median(side) for side in zip(*rates, strict=True))
    return [
        Figure("libslurm_submits_per_s", "four libslurm clients, submissions per second", with_us, 500),
        Figure("libslurm_submits_per_s_alone", "… of Slurm alone", alone),
    ]


def task_start() -> list[Figure]:
    """What a step's start takes longer in a job with a plan: SPANK plugin, agent and policy."""
    with pair() as (ours, plain):
        jobs = {
            stack: stack.sbatch("#!/bin/sh\nsleep 600\n", "--mem=400", *(["--tier=cap"] if stack is ours else []))
            for stack in (ours, plain)
        }
        for stack, job in jobs.items():
            stack.wait(job, "RUNNING")
        check_planned(ours)
        times: dict[Stack, list[float]] = {ours: [], plain: []}
        for _ in range(ROUNDS * STARTS):
            for stack, job in jobs.items():
                started = time.perf_counter()
                run(stack, ["srun", f"--jobid={job}", "--overlap", "--mem=100", "true"])
                times[stack].append(1e3 * (time.perf_counter() - started))
        for stack, job in jobs.items():
            run(stack, ["scancel", str(job)])
    added = statistics.median(times[ours]) - statistics.median(times[plain])
    return [Figure("task_start_added_ms_median", "added to a task's start, median ms", added, at_most=5)]


def tieralloc() -> list[Figure]:
    """TierAlloc for a job of two classes on a node with three tiers."""
    classes = (SizedClass("LAT", GIB), SizedClass("CAP", 7 * GIB))
    rooms = tuple(
        TierRoom(name, size * GIB, bandwidth * 10**9, size * GIB)
        for name, size, bandwidth in (("dram", 64, 200), ("pmem", 256, 100), ("cxl", 4, 30))
    )
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(ALLOCATIONS):
            allocate(classes, rooms)
        times.append(1e6 * (time.perf_counter() - started) / ALLOCATIONS)
    return [Figure("tieralloc_us", "one plan (TierAlloc), µs", statistics.median(times), at_most=50)]


def requests() -> list[Figure]:
    """Submissions that the decision service answers on one core, by how many jobs it remembers."""
    return [
        Figure("submit_requests_per_s_10k", "submit requests per second, 10,000 jobs of history", measure(10_000)),
        Figure("submit_requests_per_s_1m", "… 1,000,000 jobs of history", measure(1_000_000), 1500),
    ]


PARTS = {
    "throughput": throughput,
    "latency": latency,
    "clients": clients,
    "start": task_start,
    "tieralloc": tieralloc,
    "requests": requests,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="only these; default: all, and the file")
    chosen = parser.parse_args().parts
    figures = [figure for name in chosen or PARTS for figure in PARTS[name]()]
    print(publish("submit" if not chosen else "submit-part", figures, ROUNDS))


if __name__ == "__main__":
    main()

"""What the page engine and the tracking cost, in a virtual node: `make bench-pages`.

Moves: the same pages of the same process go from DRAM to CXL and back by our engine, by a bare C loop over
move_pages(2), and by numactl's migratepages, in turns. CPU: an agent beside four jobs with 1 and 8 GiB in all, its
threads and its kdamonds; beside those of 1 GiB then four more jobs that mean harm. The nodes run under -icount
shift=0, where an instruction takes 1 ns of their time: a ratio of seconds is one of instructions, and percent of a core
are instructions a second over 10^9.

The parts that run inside the node are this file's, too: `pages.py moves` and `pages.py cpu MIB [hostile]`.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierwise_lab.guest import Guest

RUNS = 3
MOVED = 192 << 20
PAGE = 4096
JOBS = 4
PROCESSES = 2000
"""Of the hostile job that forks."""
SETTLING, MEASURED = 40.0, 60.0
"""Seconds until regions and moves have settled, and over which CPU is counted."""
MOST = 600.0
"""Seconds of this machine after which a node is given up."""
HERE = Path(__file__).resolve().parent
DRAM, CXL = 0, 2

# --- on the host ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Boot a node for each part, and publish."""
    from figures import BUILD, Figure, publish  # noqa: PLC0415  none of these is in the node

    from tierwise_lab.guest import Guest  # noqa: PLC0415
    from tierwise_lab.topology import Tier, Topology  # noqa: PLC0415

    BUILD.mkdir(parents=True, exist_ok=True)
    bare = BUILD / "bare_move"
    subprocess.run(["cc", "-std=c11", "-O2", "-static", "-o", bare, HERE / "bare_move.c"], check=True)
    # without ERMS the kernel copies by words, not by bytes: in QEMU each step is an instruction
    counting = ("-cpu", "max,-avx2,-erms,-fsrm", "-icount", "shift=0,sleep=off")
    with Guest("three-tiers", accel="tcg,thread=single", qemu=counting) as guest:
        guest.copy_in(bare, "/tmp/bare_move")
        moves = inside(guest, "moves")
    cpu = {}
    for gib in (1, 8):
        machine = Topology(
            (Tier("dram", "2G", 80, "200G", (10, 28), cpus=1), Tier("cxl", f"{gib + 1}G", 300, "30G", (28, 10)))
        )
        with Guest(machine, accel="tcg,thread=single", qemu=counting) as guest:
            cpu[gib] = inside(guest, "cpu", str(gib * 1024 // JOBS), *(["hostile"] if gib == 1 else []))
    figures = [
        Figure("move_vs_bare_loop", "speed of a verified move ÷ bare move_pages loop", moves["bare"], at_least=0.95),
        Figure("move_vs_migratepages", "speed of a verified move ÷ migratepages", moves["migratepages"]),
        Figure("move_instructions_per_page", "instructions for a verified move of a page", moves["per_page"]),
        Figure("agent_cpu_percent_1gb", "agent and kdamonds, 1 GiB in 4 jobs: % of 10⁹ instr./s", cpu[1]["percent"]),
        Figure("agent_cpu_percent_8gb", "the same with 8 GiB", cpu[8]["percent"], at_most=3.0),
        Figure("kdamonds_cpu_percent_8gb", "of it the kdamonds", cpu[8]["kdamonds"]),
        Figure("agent_cpu_percent_hostile", "1 GiB in 4 jobs and four hostile jobs", cpu[1]["hostile"], at_most=3.0),
    ]  # fmt: skip
    publish("pages", figures, RUNS)


def inside(guest: Guest, *words: str) -> dict[str, float]:
    """What a part that runs in the node found; what it says meanwhile is shown."""
    argv = ["python3", "/opt/tierwise/bench/pages.py", *words]
    done = guest.nodes[0].start(argv, stderr=sys.stderr.buffer).wait(MOST)
    if done.returncode:
        sys.exit(done.returncode)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# --- in the node: moves -----------------------------------------------------------------------------------------------


def moves() -> None:
    """Print the ratios of speeds: ours to the others', the median over RUNS."""
    import numpy as np  # noqa: PLC0415

    from tierwise_node import pages  # noqa: PLC0415

    with load(MOVED >> 20, 1, "--node", str(DRAM)) as process:
        address = int(first_line(process).split()[0])
        process.send_signal(signal.SIGUSR2)  # hold still
        start, end = np.array([address], np.uint64), np.array([address + MOVED], np.uint64)

        def ours(source: int, target: int) -> float:
            begun = time.perf_counter()
            moved = pages.move_ranges(process.pid, start, end, [source], [target], 1 << 40)
            seconds = time.perf_counter() - begun
            assert moved.moves.landed == MOVED // PAGE, moved
            return seconds

        def bare(_source: int, target: int) -> float:
            argv = ["/tmp/bare_move", str(process.pid), f"{address:x}", f"{address + MOVED:x}", str(target)]
            return int(subprocess.run(argv, check=True, capture_output=True).stdout) / 1e9

        def migratepages(source: int, target: int) -> float:
            begun = time.perf_counter()
            subprocess.run(["migratepages", str(process.pid), str(source), str(target)], check=True)
            return time.perf_counter() - begun

        took: dict[str, list[float]] = {"ours": [], "bare": [], "migratepages": []}
        movers: dict[str, Callable[[int, int], float]] = {"ours": ours, "bare": bare, "migratepages": migratepages}
        for turn in range(RUNS + 1):
            for name, mover in movers.items():
                seconds = mover(DRAM, CXL) + mover(CXL, DRAM)
                if turn:  # the first one warms up
                    took[name].append(seconds)
    ratio = {name: statistics.median(took[name]) / statistics.median(took["ours"]) for name in movers}
    print(
        json.dumps({**ratio, "per_page": statistics.median(took["ours"]) * 1e9 / (2 * MOVED // PAGE), "seconds": took})
    )


# --- in the node: CPU -------------------------------------------------------------------------------------------------


def cpu(mib: int, harmed: bool) -> None:
    """Print the percent of a core that an agent takes beside four jobs with `mib` MiB each, and hostile ones."""
    sys.path.append(str(HERE.parent / "tests/nodeagent"))
    from handmade import NOBODY, AgentProcess, JobCgroups  # type: ignore[import-not-found]  # noqa: PLC0415

    cgroups = JobCgroups("bench")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        agent = AgentProcess(Path(folder), "bench", {"sample_interval": 1.0})
        agent.start()
        for job in range(1, JOBS + 1):
            cgroups.make(job)
            agent.ask(op="task", job_id=job, step=0, uid=NOBODY, tier="cap", mem=(mib + 128) << 20)
            process = cgroups.start(job, command(mib, mib // 5, "--node", "1", "--flush", "--rest", "0.05"))
            first_line(process)
            say(f"job {job} holds {mib} MiB")
        time.sleep(SETTLING)
        percent = counted(agent.pid)
        tracked = json.loads(agent.ask(op="heatmap", job_id=1)["json"])["tracker"]
        say(f"agent {percent[0]:.2f} %, kdamonds {percent[1]:.2f} %, by {tracked}")
        found = {"percent": sum(percent), "kdamonds": percent[1]}
        if harmed:
            programs = dict(enumerate(hostile(Path(folder)), JOBS + 1))
            for job, argv in programs.items():
                cgroups.make(job)
                agent.ask(op="task", job_id=job, step=0, uid=NOBODY, tier="cap", mem=200 << 20)
                say(f"job {job}: {first_line(process := cgroups.start(job, argv)).strip()}")
            imposter = cgroups.folders(job)[0] / "step_0/job_1"
            imposter.mkdir()
            (imposter / "cgroup.procs").write_text(str(process.pid))
            time.sleep(SETTLING)
            percent = counted(agent.pid)
            say(f"beside hostile jobs: agent {percent[0]:.2f} %, kdamonds {percent[1]:.2f} %")
            found["hostile"] = sum(percent)
            cgroups.remove(min(programs))  # with what it forked
        agent.close()
        cgroups.close()
    print(json.dumps(found))


def counted(pid: int) -> list[float]:
    """Percent of a core that an agent and its kdamonds take from now on for MEASURED seconds."""
    before, begun = spent(pid), time.monotonic()
    time.sleep(MEASURED)
    after, seconds = spent(pid), time.monotonic() - begun
    return [100 * (late - early) / seconds for early, late in zip(before, after, strict=True)]


def hostile(folder: Path) -> list[list[str]]:
    """Programs of tests/guest/test_hostile.py: very many processes, very many areas, pages that are moved back, and one
    for a cgroup that is named like another job's."""
    sys.path.append(str(HERE.parent / "tests/guest"))
    import test_hostile as tried  # type: ignore[import-not-found]  # noqa: PLC0415

    Path("/proc/sys/vm/max_map_count").write_text(str(2 * tried.AREAS))
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o644)
    words = ("sh", str(pipe), str(PROCESSES), sys.executable, tried.HOLDS)
    return [
        ["sh", "-c", tried.FORKS, *words],
        [sys.executable, "-c", tried.MAPS, str(tried.AREAS)],
        [sys.executable, "-c", tried.MOVES_BACK],
        [sys.executable, "-c", tried.HOLDS],
    ]


def say(text: str) -> None:
    """A line for people."""
    sys.stderr.write(f"{time.monotonic():7.1f} {text}\n")


def spent(pid: int) -> tuple[float, float]:
    """Seconds of CPU of the agent's threads, and of all kdamonds: the first column of schedstat."""
    threads = [Path(f"/proc/{pid}/task/{task}/schedstat") for task in os.listdir(f"/proc/{pid}/task")]
    kdamonds = [
        stat.parent / "schedstat"
        for stat in Path("/proc").glob("[0-9]*/comm")
        if stat.read_text().startswith("kdamond")
    ]
    own, theirs = (sum(int(each.read_text().split()[0]) for each in them) / 1e9 for them in (threads, kdamonds))
    return own, theirs


def command(mib: int, hot: int, *options: str) -> list[str]:
    """A load's command line; see tierwise_lab.touch."""
    return [sys.executable, "-m", "tierwise_lab.touch", str(mib), "contiguous", str(hot), *options]


@contextmanager
def load(mib: int, hot: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A load beside this process."""
    process = subprocess.Popen(command(mib, hot, *options), stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    """What a load says when it holds its memory."""
    assert process.stdout is not None
    return process.stdout.readline()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "moves":
        moves()
    else:
        cpu(int(sys.argv[2]), harmed="hostile" in sys.argv)

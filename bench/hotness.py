"""Finding what is hot, and following it: ours beside the kernel's tiering and DAMON's scheme: `make bench-hotness`.

In virtual nodes. First the trackers, at the agent's own settings, on processes of which we know what is hot. Then
a process of 400 MiB that starts on CXL, a fifth of it hot, while DRAM is nearly full of somebody else's: how long
until 95 % of the hot set is in DRAM after it jumped, how much cold memory is left there, how many pages went to and
fro.

The node is a model of one with 256 GiB of CXL memory at 30 GB/s, a 128th in size: so is its bandwidth, of which each
side may use a tenth for moves. It runs under -icount shift=0, where an instruction takes 1 ns of its time, whatever
else this machine does.

The part that runs inside the node is this file's, too: `hotness.py node`.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

PAGE, MIB = 4096, 1 << 20
DRAM, PMEM, CXL = 0, 1, 2
WINDOWS = 20
SIZE, HOT = 400, 80
SPARE = 400
"""MiB of DRAM that the hog leaves: the hot set, the margins of both kernels' and our own, and some for the system."""
WARM, STEADY, PATIENCE, AFTER = 60.0, 35.0, 60.0, 30.0
"""Seconds to settle, to stay so (by our own rule what has just moved may not move again so soon), to follow the jump,
and to look for pages that go to and fro."""
BROKEN, REPAIRS = 20 * MIB, 5
"""Bytes of a pinned part that are taken out of DRAM, so often: the limit lets them come back in 0.9 s."""
MOST = 600.0
"""Seconds of this machine after which the node is given up."""
LIMIT = 30 * 10**9 // 128 // 10
"""Bytes per second that each side may move: a tenth of the slow tier's bandwidth, in the model's scale."""
DAMON = Path("/sys/kernel/mm/damon/admin/kdamonds")
SCANNING = Path("/sys/kernel/debug/sched/numa_balancing")
SCANS = {"scan_delay_ms": 100, "scan_size_mb": 16, "scan_period_min_ms": 160, "scan_period_max_ms": 160}
"""NUMA balancing scans a process by its own run time, and the load, to spare emulation, rests nearly all the time: so
it is scanned as fast as the kernel can (2.5 GB in a second of run time: task_scan_min() and task_nr_scan_windows()), in
small steps: the faults of a large one come in one round of the load, and nearly all meet the limit on promotions."""
SETS = ("contiguous", "hashed", "zipf")
SIDES = ("ours", "kernel", "damon")
TEXTS = {
    "adapt_ratio": "time to 95 % of the new hot set, over hot bytes / limit",
    "cold_left_ratio": "cold memory in DRAM at the end, over hot bytes",
    "pingpong_ratio": "of all pages that moved, those that had moved within 30 s before",
}
HOLD = """
import mmap, sys, time
LOCKED, POPULATE = 0x2000, 0x8000
held = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | LOCKED | POPULATE)
print("held", flush=True)
time.sleep(3600)
"""

# --- on the host ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Boot a node for each side, since none should find memory as another left it, and publish."""
    from figures import Figure, publish  # noqa: PLC0415  neither is in the node

    from tierwise_lab.guest import Guest  # noqa: PLC0415

    # without ERMS the kernel copies by words, not by bytes: in QEMU each step is an instruction
    counting = ("-cpu", "max,-avx2,-erms,-fsrm", "-icount", "shift=0,sleep=off")
    found: dict[str, Any] = {"sides": {}, "missing": {}}
    for parts in ((*SETS, "ours"), ("kernel",), ("damon",)):
        with Guest("three-tiers", accel="tcg,thread=single", qemu=counting) as guest:
            argv = ["python3", "/opt/tierwise/bench/hotness.py", "node", *parts]
            done = guest.nodes[0].start(argv, stderr=sys.stderr.buffer).wait(MOST)
        if done.returncode:
            sys.exit(done.returncode)
        new = json.loads(done.stdout)
        found |= {**new, "sides": found["sides"] | new["sides"], "missing": found["missing"] | new["missing"]}
    near, sides = found["contiguous"], found["sides"]
    figures = [
        Figure("precision", "contiguous hot fifth: precision after 20 windows", near["precision"], at_least=0.9),
        Figure("recall", "the same: recall", near["recall"], at_least=0.9),
        Figure("windows", "windows until both are 0.9", near["windows"], at_most=20),
    ]
    for name in SETS[1:]:
        figures += [
            Figure(f"{name}_precision", f"{name} set: precision", found[name]["precision"]),
            Figure(f"{name}_base_rate", f"{name} set: its share of the memory", found[name]["base_rate"]),
            Figure(f"{name}_trusted", f"{name} set: share of the windows that were trusted", found[name]["trusted"]),
        ]
    limits = {"adapt_ratio": 2.0, "cold_left_ratio": 0.1, "pingpong_ratio": 0.02}
    for side in SIDES:
        if side not in sides:
            sys.stderr.write(f"{side}: {found['missing'][side]}\n")
        for key, most in limits.items():
            if side in sides:
                mine = side == "ours"
                name = key if mine else f"{side}_{key}"
                figures.append(Figure(name, f"{side}: {TEXTS[key]}", sides[side][key], at_most=most if mine else None))
        if side in sides:
            late = sides[side]["jump_pingpong_ratio"]
            figures += [
                Figure(f"{side}_reached", f"{side}: part of the new hot set in DRAM", sides[side]["reached"]),
                Figure(
                    f"{side}_jump_pingpong_ratio",
                    f"{side}: of the pages that moved after the jump, those that had moved within 30 s before",
                    late,
                ),
            ]
    repair = sides["ours"]["pin_repair_seconds"]
    figures.append(
        Figure(
            "pin_repair_seconds",
            "seconds until a broken soft pin is whole again, the longest of 5",
            repair,
            at_most=2.0,
        )
    )
    publish("hotness", figures, 1)


# --- in the node ------------------------------------------------------------------------------------------------------


def node(parts: list[str]) -> None:
    """Print what was found as JSON; what happens meanwhile goes to stderr. `parts`: of SETS and SIDES; none: all."""
    found: dict[str, Any] = {"sides": {}, "missing": {}}
    for name in [name for name in SETS if not parts or name in parts]:
        found[name] = tracked(name, WINDOWS if name == "contiguous" else WINDOWS // 2)
        say(f"{name}: {found[name]}")
    for side, start in (("ours", ours), ("kernel", kernel), ("damon", damon)):
        if parts and side not in parts:
            continue
        try:
            with hog(SPARE):
                found["sides"][side] = followed(start, LIMIT)
            say(f"{side}: {found['sides'][side]}")
        except NotOfferedError as why:
            found["missing"][side] = str(why)
            say(f"{side}: {why}")
    print(json.dumps(found))


class NotOfferedError(Exception):
    """This kernel can't do what a side needs."""


def say(text: str) -> None:
    """A line for people."""
    sys.stderr.write(f"{time.monotonic():7.1f} {text}\n")


@dataclass
class Load:
    """A process that touches what we know; see tierwise_lab.touch."""

    process: subprocess.Popen[str]
    manner: str
    jumps: int = 0
    more: dict[str, float] = field(default_factory=dict)
    """What a side found out besides, once it is over."""

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        address, pages = self.process.stdout.readline().split()
        self.address, self.pages = int(address), int(pages)

    def hot(self) -> npt.NDArray[Any]:
        """Which pages are hot now."""
        import numpy as np  # noqa: PLC0415

        from tierwise_lab.touch import hot_pages  # noqa: PLC0415

        mask = np.zeros(self.pages, bool)
        mask[hot_pages(self.pages, self.manner, HOT * MIB // PAGE, self.jumps)] = True
        return mask

    def jump(self) -> None:
        """Let the hot set jump."""
        self.process.send_signal(signal.SIGUSR1)
        self.jumps += 1

    def move(self, pages: npt.NDArray[Any], node: int) -> None:
        """Move pages, given by their numbers, as somebody else would (move_pages(2), MPOL_MF_MOVE)."""
        import numpy as np  # noqa: PLC0415

        at = pages.astype(np.uint64) * np.uint64(PAGE) + np.uint64(self.address)
        to, status = np.full(len(at), node, np.int32), np.zeros(len(at), np.int32)
        moved = ctypes.CDLL(None).syscall(
            279, self.process.pid, ctypes.c_ulong(len(at)), ctypes.c_void_p(at.ctypes.data),
            ctypes.c_void_p(to.ctypes.data), ctypes.c_void_p(status.ctypes.data), 2,
        )  # fmt: skip
        assert moved == 0, f"{moved} pages did not move"

    def nodes(self) -> npt.NDArray[Any]:
        """The node of each page (move_pages(2) without nodes)."""
        import numpy as np  # noqa: PLC0415

        at = np.arange(self.pages, dtype=np.uint64) * np.uint64(PAGE) + np.uint64(self.address)
        where = np.full(self.pages, -1, np.int32)
        ctypes.CDLL(None).syscall(
            279, self.process.pid, ctypes.c_ulong(self.pages), ctypes.c_void_p(at.ctypes.data), None,
            ctypes.c_void_p(where.ctypes.data), 0,
        )  # fmt: skip
        return where


def command(manner: str, *options: str) -> list[str]:
    """A load's command line."""
    return [
        sys.executable,
        "-m",
        "tierwise_lab.touch",
        str(SIZE),
        manner,
        str(HOT),
        "--flush",
        "--rest",
        "0.02",
        *options,
    ]


@contextmanager
def running(manner: str, *options: str) -> Iterator[Load]:
    """A load beside this process."""
    process = subprocess.Popen(command(manner, *options), stdout=subprocess.PIPE, text=True)
    try:
        yield Load(process, manner)
    finally:
        process.kill()
        process.wait()


def tracked(manner: str, most: int) -> dict[str, float]:
    """How well the agent's own tracker, at its own settings, finds the hot set of one process."""
    import numpy as np  # noqa: PLC0415

    from tierwise_node.hotness.damon import PACE, Damon  # noqa: PLC0415
    from tierwise_policy.heat import clip, hot, no_ranges, trustworthy  # noqa: PLC0415

    verdicts: list[bool] = []
    windows = reached = 0
    precision = recall = 0.0
    with running(manner) as load, tempfile.TemporaryDirectory() as folder:
        tracker = Damon(Path(folder) / "kdamonds.json", "bench")
        before, truth = no_ranges(), load.hot()
        while windows < most:
            tracker.follow({1: [load.process.pid]}, 1)
            time.sleep(PACE.aggregation / 4)
            for seen in tracker.read().values():
                windows += 1
                ends = np.array([load.address, load.address + load.pages * PAGE], np.uint64)
                now = clip(seen.ranges, ends[:1], ends[1:])
                verdicts.append(trustworthy(before, now))
                said, before = np.zeros(load.pages, bool), now
                for each in hot(now):
                    said[(int(each["start"]) - load.address) // PAGE : (int(each["end"]) - load.address) // PAGE] = True
                both = float((said & truth).sum())
                precision, recall = both / max(float(said.sum()), 1), both / float(truth.sum())
                if not reached and min(precision, recall) >= 0.9:
                    reached = windows
        tracker.stop()
    late = verdicts[most // 2 :]
    return {
        "precision": precision,
        "recall": recall,
        "windows": reached or most + 1,
        "base_rate": float(truth.mean()),
        "trusted": sum(late) / len(late),
    }


# --- following the hot set --------------------------------------------------------------------------------------------


def followed(start: Side, limit: int) -> dict[str, float]:
    """One side: settle, jump, follow. `adapt_ratio` is a lower bound where the hot set was never reached."""
    ideal = HOT * MIB / limit
    with start(limit) as load:
        seen: list[tuple[float, Any]] = []
        settled = until_hot(load, seen, WARM)
        part = in_dram(load, seen[-1][1])
        say(f"  settled: {settled:.0f} s, {part:.0%} of the hot set in DRAM; limit {limit / MIB:.0f} MiB/s")
        until_hot(load, seen, STEADY, enough=2.0)
        jumped = time.monotonic()
        load.jump()
        seconds = until_hot(load, seen, PATIENCE)
        reached = in_dram(load, seen[-1][1])
        until_hot(load, seen, AFTER, enough=2.0)
        cold = float(((seen[-1][1] == DRAM) & ~load.hot()).sum()) / (HOT * MIB // PAGE)
    return {
        "adapt_ratio": seconds / ideal,
        "adapt_seconds": seconds,
        "reached": reached,
        "cold_left_ratio": cold,
        "pingpong_ratio": to_and_fro(seen, 0.0),
        "jump_pingpong_ratio": to_and_fro(seen, jumped),
        **load.more,
    }


def until_hot(load: Load, seen: list[tuple[float, Any]], patience: float, enough: float = 0.95) -> float:
    """Look each second until so much of the hot set is in DRAM; the seconds that took."""
    begun = time.monotonic()
    while True:
        seen.append((time.monotonic(), load.nodes().astype("i1")))
        passed = time.monotonic() - begun
        part = in_dram(load, seen[-1][1])
        if part >= enough or passed > patience:
            return passed
        if len(seen) % 5 == 0:
            say(f"  {part:.0%} of the hot set in DRAM")
        time.sleep(1)


def in_dram(load: Load, nodes: npt.NDArray[Any]) -> float:
    """The part of the hot set that is there."""
    hot = load.hot()
    return float((nodes[hot] == DRAM).sum() / hot.sum())


def to_and_fro(seen: list[tuple[float, Any]], since: float) -> float:
    """Of the pages that moved after `since`, the part that had moved at most 30 s before."""
    import numpy as np  # noqa: PLC0415

    last = np.full(len(seen[0][1]), -np.inf)
    moved, twice = np.zeros(len(last), bool), np.zeros(len(last), bool)
    for (_, before), (at, now) in itertools.pairwise(seen):
        changed = before != now
        twice |= changed & (at - last <= 30) & (at > since)
        moved |= changed & (at > since)
        last[changed] = at
    return float(twice.sum() / max(moved.sum(), 1))


@contextmanager
def hog(spare: int) -> Iterator[None]:
    """Somebody else's locked memory in DRAM, all but `spare` MiB of it."""
    free = next(
        int(line.split()[3]) << 10
        for line in Path(f"/sys/devices/system/node/node{DRAM}/meminfo").read_text().splitlines()
        if "MemFree" in line
    )
    size = max(free - spare * MIB, PAGE) // PAGE * PAGE
    argv = ["numactl", f"--preferred={DRAM}", sys.executable, "-I", "-c", HOLD, str(size)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def ours(limit: int) -> Iterator[Load]:
    """An agent, and the load as its job."""
    sys.path.append(str(Path(__file__).parents[1] / "tests/nodeagent"))
    from handmade import NOBODY, AgentProcess, JobCgroups  # type: ignore[import-not-found]  # noqa: PLC0415

    with settings(balancing=0, demotion=False), tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        cgroups = JobCgroups("bench")
        agent = AgentProcess(Path(folder), "bench", {"sample_interval": 1.0, "move_limit": limit})
        agent.start()
        try:
            cgroups.make(1)
            directive = f"lat:{HOT + 8}M,cap"
            agent.ask(op="task", job_id=1, step=0, uid=NOBODY, tier=directive, mem=(SIZE + 100) * MIB)
            process = cgroups.start(1, command("contiguous", "--node", str(CXL)))
            load = Load(process, "contiguous")
            yield load
            load.more["pin_repair_seconds"] = repaired(load, agent.job(1)["plan"]["parts"])
            for event in json.loads(agent.ask(op="events", since=0, job_id=1)["json"]):
                at = event["time"] / 1e9 - time.time() + time.monotonic()
                way = f"{event['source']} to {event['target']}"
                say(f"  {at:.1f}: {event['what']} {event['pages']} pages, {way}: {event['why']}")
        finally:
            agent.close()
            cgroups.close()


@contextmanager
def kernel(limit: int) -> Iterator[Load]:
    """NUMA balancing for memory tiering, with demotion."""
    rate = Path("/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps")
    if not rate.exists():
        raise NotOfferedError("this kernel has no tiering by NUMA balancing")
    rate.write_text(str(max(limit // 1_000_000, 1)))
    if not SCANNING.exists():
        subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=True)
    put(SCANNING, SCANS)
    before = counters("numa_hint_faults", "pgpromote_success", "pgdemote_kswapd", "pgdemote_direct")
    with settings(balancing=2, demotion=True), running("contiguous", "--node", str(CXL)) as load:
        yield load
    say("  " + ", ".join(f"{name} {count - before[name]}" for name, count in counters(*before).items()))


def repaired(load: Load, parts: list[dict[str, Any]]) -> float:
    """Take BROKEN of a job's pinned part out of DRAM, REPAIRS times, and count the seconds until it is whole again; the
    longest."""
    pinned = sum(part["pinned"] for part in parts)
    took = []
    for _ in range(REPAIRS):
        here = (load.nodes() == DRAM).nonzero()[0]
        begun = time.monotonic()
        load.move(here[: len(here) - (pinned - BROKEN) // PAGE], CXL)
        while int((load.nodes() == DRAM).sum()) * PAGE < pinned and time.monotonic() - begun < PATIENCE:
            time.sleep(0.05)
        took.append(time.monotonic() - begun)
        time.sleep(2.3)
    say(f"  {pinned / MIB:.0f} MiB pinned, {BROKEN / MIB:.0f} taken; whole after {[round(each, 2) for each in took]} s")
    return max(took)


@contextmanager
def damon(limit: int) -> Iterator[Load]:
    """DAMOS migrate_hot to DRAM and migrate_cold away from it, on physical addresses, each within the limit."""
    with settings(balancing=0, demotion=False):
        (DAMON / "nr_kdamonds").write_text("1")
        context = DAMON / "0/contexts/0"
        try:
            (DAMON / "0/contexts/nr_contexts").write_text("1")
            put(context, {"operations": "paddr", "monitoring_attrs/intervals/sample_us": 20_000})
            put(context, {"monitoring_attrs/intervals/aggr_us": 400_000, "monitoring_attrs/nr_regions/max": 1000})
            spans = [span(DRAM), span(CXL)]
            put(context, {"targets/nr_targets": 1, "targets/0/regions/nr_regions": 2, "schemes/nr_schemes": 2})
            for number, (start, end) in enumerate(spans):
                put(context / f"targets/0/regions/{number}", {"start": start, "end": end})
            scheme(context / "schemes/0", "migrate_hot", DRAM, (2, 20), (0, 1 << 31), spans[0], limit)
            scheme(context / "schemes/1", "migrate_cold", CXL, (0, 0), (5, 1 << 31), spans[1], limit)
            (DAMON / "0/state").write_text("on")
            with running("contiguous", "--node", str(CXL)) as load:
                yield load
            (DAMON / "0/state").write_text("update_schemes_stats")
            for number in (0, 1):
                place = context / f"schemes/{number}"
                moved, seen = ((place / f"stats/{name}").read_text().strip() for name in ("sz_applied", "sz_tried"))
                say(f"  {(place / 'action').read_text().strip()}: {moved} bytes moved of {seen}")
        except OSError as error:
            raise NotOfferedError(f"this kernel's DAMON does not take the scheme: {error}") from error
        finally:
            with contextlib.suppress(OSError):
                (DAMON / "0/state").write_text("off")
            (DAMON / "nr_kdamonds").write_text("0")


def scheme(
    place: Path,
    action: str,
    target: int,
    accesses: tuple[int, int],
    age: tuple[int, int],
    but: tuple[int, int],
    limit: int,
) -> None:
    """One scheme of DAMON, for all regions but those of one node. (A filter that lets only one's through keeps all out:
    up to 6.13 the operations set, which knows no addresses, asks it again for each page.)"""
    put(place, {"action": action, "target_nid": target, "access_pattern/sz/max": (1 << 63) - 1})
    put(place / "access_pattern", {"nr_accesses/min": accesses[0], "nr_accesses/max": accesses[1]})
    put(place / "access_pattern", {"age/min": age[0], "age/max": age[1]})
    put(place / "quotas", {"bytes": limit, "reset_interval_ms": 1000})
    put(place / "filters", {"nr_filters": 1, "0/type": "addr", "0/matching": "Y"})
    put(place / "filters/0", {"addr_start": but[0], "addr_end": but[1]})


def counters(*names: str) -> dict[str, int]:
    """Some of /proc/vmstat."""
    found = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return {name: int(found[name]) for name in names}


def put(place: Path, values: Mapping[str, object]) -> None:
    """Write small files below a folder."""
    for name, value in values.items():
        (place / name).write_text(str(value))


def span(node: int) -> tuple[int, int]:
    """The physical addresses of a node, by /proc/zoneinfo."""
    first, last, here, spanned = 1 << 62, 0, False, 0
    for line in Path("/proc/zoneinfo").read_text().splitlines():
        words = line.replace(",", " ").split()
        if words[0] == "Node":
            here, spanned = int(words[1]) == node, 0
        elif here and words[0] == "spanned":
            spanned = int(words[1])
        elif here and words[0] == "start_pfn:" and spanned:
            first, last = min(first, int(words[1])), max(last, int(words[1]) + spanned)
    return first * PAGE, last * PAGE


@contextmanager
def settings(balancing: int, demotion: bool) -> Iterator[None]:
    """The kernel's own tiering on or off."""
    where = (Path("/proc/sys/kernel/numa_balancing"), Path("/sys/kernel/mm/numa/demotion_enabled"))
    before = [path.read_text() for path in where]
    where[0].write_text(str(balancing))
    where[1].write_text("true" if demotion else "false")
    try:
        yield
    finally:
        for path, text in zip(where, before, strict=True):
            path.write_text(text)


Side = Callable[[int], contextlib.AbstractContextManager[Load]]

if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main() if len(sys.argv) == 1 else node(sys.argv[2:])

"""Messages as the service and the agents send them: two nodes with three tiers, jobs of every kind."""

import subprocess
from collections.abc import Callable

from tierwise.messages import (
    Attempt,
    JobReport,
    JobSample,
    JobView,
    NodeSample,
    NodeView,
    PlanKey,
    RegionView,
    StagedCopy,
    TierUse,
    UsePoint,
)
from tierwise.plans import MemoryPolicy, Moves, Part, Plan
from tierwise.tiers import Tier
from tierwise.units import GIB, MIB

Tierctl = Callable[..., subprocess.CompletedProcess[str]]
NOON = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def tiers(dram: int, pmem: int, cxl: int) -> tuple[Tier, ...]:
    """Three tiers of 2, 1 and 1 GiB with so many MiB in use."""
    return (
        Tier("dram", 0, (0,), 2 * GIB, 2 * GIB - dram * MIB, 80, 200 * 10**9),
        Tier("pmem", 1, (1,), GIB, GIB - pmem * MIB, 140, 100 * 10**9),
        Tier("cxl", 2, (2,), GIB, GIB - cxl * MIB, 300, 30 * 10**9),
    )


LAT = Plan(
    (Part("LAT", 300 * MIB, {"dram": 300 * MIB}, pinned=150 * MIB),),
    MemoryPolicy("preferred_many", ("dram",), numa_balancing=True),
)
MIXED = Plan(
    (
        Part("LAT", 64 * MIB, {"dram": 64 * MIB}, pinned=32 * MIB),
        Part("CAP", 236 * MIB, {"cxl": 236 * MIB}),
    ),
    MemoryPolicy("preferred_many", ("dram",)),
)
CROWDED = Plan(
    (Part("CAP", 2 * GIB, {"cxl": 900 * MIB, "pmem": 1000 * MIB}, unplaced=2 * GIB - 1900 * MIB),),
    MemoryPolicy("preferred_many", ("cxl",)),
    (
        "CAP: 1000 MiB of 2 GiB on pmem, its own tier has no more room",
        "CAP: 148 MiB of 2 GiB fit on no tier",
    ),
)


def sample(job_id: int, plan: Plan | None, agrees: bool | None = True, **found: int) -> JobSample:
    """A running job of uid 0 with so many MiB on each tier."""
    return JobSample(
        key=PlanKey(job_id, "0123456789abcdef"),
        uid=0,
        plan=plan,
        found={tier: size * MIB for tier, size in found.items()},
        agrees=agrees,
        moves=Moves(60416, 60000, 400, 16) if plan is MIXED else Moves(),
        directive={id(LAT): "lat", id(MIXED): "lat:67108864,cap", id(CROWDED): "cap:2147483648"}.get(id(plan), ""),
        started=NOON,
    )


JOBS = (
    sample(4711, LAT, dram=301),
    sample(4712, MIXED, dram=140, cxl=160, agrees=False),
    sample(4713, CROWDED, cxl=420, pmem=12),
    sample(4714, None, dram=12, agrees=None),
)
NODES = [
    NodeView(NodeSample("n1", NOON, "0.1.0", tiers(812, 20, 640), JOBS), 2.4, "up"),
    NodeView(NodeSample("node-with-a-long-name-0017", NOON, "0.1.0", tiers(1990, 0, 0)), 64.0, "silent"),
]
CROWD = NodeView(
    NodeSample("busy", NOON, "0.1.0", tiers(2000, 500, 1024), tuple(sample(5000 + n, LAT, dram=9) for n in range(40))),
    1.0,
    "up",
)
REPORT = JobReport(
    node="n1",
    key=PlanKey(4712, "0123456789abcdef"),
    uid=0,
    directive="lat:67108864,cap",
    memory=300 * MIB,
    plan=MIXED,
    reason="",
    started=NOON,
    ended=NOON + 185 * SECOND,
    end="epilog",
    tiers={
        "dram": TierUse(64 * MIB * 185, 300 * MIB, 66 * MIB),
        "cxl": TierUse(200 * MIB * 185, 237 * MIB, 200 * MIB),
    },
    curve=tuple(
        UsePoint(float(at), {"dram": max(300 - 12 * at, 64) * MIB, "cxl": min(12 * at, 236) * MIB}) for at in range(40)
    ),
    peak=301 * MIB,
    moves=Moves(60416, 60000, 400, 16),
    minor_faults=76_800,
    major_faults=3,
    agreed=0.98,
    gaps=1.5,
    whole=True,
    oom_kills=0,
    cpu_seconds=259.0,
)
RUNNING = JobView(
    4712,
    "0123456789abcdef",
    0,
    "lat:67108864,cap",
    "running",
    {"n1": JOBS[1]},
    (),
    ("64 MiB is more than half of --mem",),
)
ENDED = JobView(4712, "0123456789abcdef", 0, "lat:67108864,cap", "ended", {}, (REPORT,))
RUNS = (
    Attempt(
        restart=0, state="OUT_OF_MEMORY", cause="memory", exit_code=0, exit_signal=125, memory=150 * MIB,
        peak=150 * MIB, time_limit=3600, started=NOON - 60 * SECOND, ended=NOON - 30 * SECOND, nodes="n1",
        action="requeued with 300 MiB on each node (retry 1 of 2)",
    ),
    Attempt(
        restart=1, state="COMPLETED", cause="well", exit_code=0, exit_signal=0, memory=300 * MIB, peak=301 * MIB,
        time_limit=3600, started=NOON, ended=NOON + 185 * SECOND, nodes="n1", cpus=2,
    ),
)  # fmt: skip
MENDED = JobView(4712, "0123456789abcdef", 0, "lat:67108864,cap", "ended", {}, (REPORT,), (), RUNS)
SUBMITTED = JobView(0, "fedcba9876543210", 1000, "cap", "submitted")
HOSTILE = JobView(
    4715, "", 4294967294, "", "running", {"n1": sample(4715, None, agrees=None, dram=5)}, (), ("\x1b[2J\r gone",)
)

REGIONS = [
    RegionView(1000, "matrix", 64 << 20, "CAP", {"cxl": 64 << 20}, (71, 72), True, False, False),
    RegionView(1000, "model\x1b[2J", 1 << 30, "", {}, (), False, True, False),
]
STAGED = [
    StagedCopy(
        "n1",
        "cxl",
        "/data/image\x1b[2J.sif",
        "/run/c/data",
        80 << 20,
        80 << 20,
        1000,
        True,
        True,
        9,
        NOON,
        3,
        ("job:7",),
    ),
    StagedCopy("n1", "cxl", "/data/new.sif", "", 40 << 20, 10 << 20, 1000, False, False, 0, 0, 1),
]

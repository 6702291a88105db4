"""The messages between rooms, typed once. On the wire they are JSON (msgspec); docs/protocol.md shows who sends what.

Times are nanoseconds since the epoch, sizes bytes. Every list is bounded: a decoder of untrusted bytes uses these
types as they are, and Meta does the checking. `gc=False`: frozen values can't be part of a cycle, and a service that
keeps those of 10,000 nodes would stand still while Python's collector looks at them all.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tierwise.plans import Moves, Plan
from tierwise.tiers import Tier, TierName

NodeName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Token = Annotated[str, Meta(pattern=r"^([0-9a-f]{16})?$")]
"""What ties a submission to its plans: 16 hex digits; empty where a job came in without our hook."""
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Words = Annotated[str, Meta(max_length=512)]
Directive = Annotated[str, Meta(max_length=128)]
ShortTuple = Annotated[tuple[Words, ...], Meta(max_length=32)]


class PlanKey(msgspec.Struct, frozen=True, gc=False):
    """A plan's key at an agent. Array tasks and het components have a job id, so a key, each."""

    job_id: Count
    token: Token = ""
    restart: Count = 0

    def __str__(self) -> str:
        return f"{self.job_id}.{self.restart}"


class PlanQuery(msgspec.Struct, frozen=True, gc=False):
    """Agent to service, before a job starts: what does this job get here? (`POST /v1/plans`)

    `memory` is the job's memory on this node in bytes, 0 when not known yet. `tiers` is the node as the agent
    sees it now, `evictable` what each tier can give (free, less what earlier plans still may grow into).
    """

    node: NodeName
    key: PlanKey
    uid: Count
    directive: Directive
    memory: Count
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1, max_length=16)]
    evictable: dict[TierName, Count]
    displaceable: dict[TierName, Count] = {}
    """What others would give up on each tier for a LAT or SHL part of this job."""
    scratch: Count = 0
    """Bytes of the job's memory that its scratch may take: `memory` is without them, a submission's is not."""


class PlanAnswer(msgspec.Struct, frozen=True, gc=False):
    """Service to agent. `plan` is None where the job is left to the kernel; `reason` then says why."""

    key: PlanKey
    directive: Directive
    memory: Count
    plan: Plan | None
    reason: Words = ""
    basis: Words = ""


class DryRunQuery(msgspec.Struct, frozen=True, gc=False):
    """`tierctl plan --dry-run`: what would a job get on each node (`POST /v1/plans/dry-run`)? Changes nothing."""

    directive: Directive
    memory: Count
    node: NodeName | None = None


class DryRunPlan(msgspec.Struct, frozen=True, gc=False):
    """The plan on one node, and why it is so, a sentence each."""

    node: NodeName
    plan: Plan | None
    reasons: ShortTuple


class Movement(msgspec.Struct, frozen=True, gc=False):
    """What moving did for one job, in pages of the base size: moved up, moved down, pages of its pinned part that the
    kernel took down (`broken_pins`) and that were brought back. `pin` is how its pinned part is kept; empty: none."""

    promoted: Count = 0
    demoted: Count = 0
    broken_pins: Count = 0
    repaired_pins: Count = 0
    pin: Literal["", "soft", "hard"] = ""


class EstimateQuery(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`tierctl plan --script`: what does the asker's history say about such a job (`POST /v1/estimates`)?"""

    script: Annotated[str, Meta(max_length=16 * 1024)]
    job_name: Words = ""
    partition: Words = ""
    array: bool = False
    image: Words = ""


class EstimateAnswer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a job will need by the history of its kind; `runs` 0: there is none.

    `memory` is a limit in bytes per node that it would live under, `peak` what is expected of it, `hot` the part that
    will take most accesses (0: not known), `directive` how it would be placed. The bases say on what each rests.
    """

    runs: Count = 0
    peak: Count = 0
    memory: Count = 0
    hot: Count = 0
    seconds: float = 0.0
    directive: Directive = ""
    basis: Words = ""
    time_basis: Words = ""


class JobSample(msgspec.Struct, frozen=True, gc=False):
    """What a running job holds on a node now: anonymous and shared-memory bytes per tier, of its cgroup."""

    key: PlanKey
    uid: Count
    plan: Plan | None
    found: dict[TierName, Count]
    agrees: bool | None
    """Whether what was found is what the plan says (policy: verification); None: no plan, or nothing to compare."""
    moves: Moves = Moves()
    suspended: bool = False
    directive: Directive = ""
    reason: Words = ""
    started: Count = 0
    movement: Movement | None = None


class NodeSample(msgspec.Struct, frozen=True, gc=False):
    """A node's tiers and jobs now (`POST /v1/samples`; agents send one at start, at changes, and each 10 s)."""

    node: NodeName
    time: Count
    version: Words
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1, max_length=16)]
    jobs: Annotated[tuple[JobSample, ...], Meta(max_length=4096)] = ()


class TierUse(msgspec.Struct, frozen=True, gc=False):
    """One job's use of one tier: `byte_seconds` is the integral, `peak` the largest sample, `mean` over its life."""

    byte_seconds: Count
    peak: Count
    mean: Count


class UsePoint(msgspec.Struct, frozen=True, gc=False):
    """One point of a report's curve: seconds since the plan began, bytes per tier."""

    at: Annotated[float, Meta(ge=0.0)]
    found: dict[TierName, Count]


class Heat(msgspec.Struct, frozen=True, gc=False):
    """How a job used its memory on one node, as means over `windows` of some seconds each.

    `working_set`: bytes accessed at all in a window. `hot`: the fewest bytes that took 80 % of the accesses, over the
    `trusted` windows only; in the others hot and cold pages could not be told apart.
    """

    tracker: Words
    windows: Count = 0
    trusted: Count = 0
    working_set: Count = 0
    hot: Count = 0


class HeatmapRow(msgspec.Struct, frozen=True, gc=False):
    """One row of a heatmap: bytes `start` to `end` of a process. `cells`, a byte each: 0 nothing there, 1 not
    accessed … 255 accessed in every sample."""

    pid: Count
    start: Count
    end: Count
    cells: bytes


class Heatmap(msgspec.Struct, frozen=True, gc=False):
    """Where and when a job accessed its memory on one node (agent's `op=heatmap`). `times` are those of the columns.

    `processes` are the job's now, of which the largest `tracked` are looked at. `working_set` and `hot` as in Heat,
    for the newest window.
    """

    job_id: Count
    tracker: Words
    trusted: bool
    working_set: Count
    hot: Count
    processes: Count
    tracked: Count
    times: Annotated[tuple[Count, ...], Meta(max_length=1024)]
    rows: Annotated[tuple[HeatmapRow, ...], Meta(max_length=1024)]


class JobReport(msgspec.Struct, frozen=True, gc=False):
    """What one job did on one node (`POST /v1/reports`), sent once its plan has ended; safe to send twice.

    `end` says how the agent learned it: the epilog, or the cgroup was gone. `gaps` counts seconds in which no agent
    was watching (a restart); `whole` is false only if samples were lost beyond that.
    """

    node: NodeName
    key: PlanKey
    uid: Count
    directive: Directive
    memory: Count
    plan: Plan | None
    reason: Words
    started: Count
    ended: Count
    end: Literal["epilog", "gone"]
    tiers: dict[TierName, TierUse]
    curve: Annotated[tuple[UsePoint, ...], Meta(max_length=512)]
    peak: Count
    moves: Moves
    minor_faults: Count
    major_faults: Count
    agreed: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Share of the samples, after growth had stopped, in which what was found agreed with the plan (0 to 1)."""
    gaps: Annotated[float, Meta(ge=0.0)]
    whole: bool
    oom_kills: Count = 0
    movement: Movement | None = None
    heat: Heat | None = None
    """None: nothing could track the job here, or it was too small or too short."""
    cpu_seconds: Annotated[float, Meta(ge=0.0)] = 0.0
    """CPU time of all CPUs together; 0: nothing counted it."""


class RegionView(msgspec.Struct, frozen=True, gc=False):
    """A named region of the user library, as its node's agent sees it.

    `holders` are processes with a session; `held` is the kernel's word, which counts forked children, too. `dropped`:
    its name was taken away, and it ends with its last holder.
    """

    uid: Count
    name: Words
    size: Count
    hint: Words
    tiers: dict[TierName, Count]
    holders: tuple[Count, ...]
    held: bool
    retained: bool
    dropped: bool


class NodeView(msgspec.Struct, frozen=True, gc=False):
    """A node as the service knows it (`GET /v1/nodes`). `state` is `up`, or `silent` after three missed samples."""

    sample: NodeSample
    age: float
    state: Literal["up", "silent"]


class Attempt(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One run of a job that has ended, as Slurm saw it: `state` is Slurm's word, `cause` what we make of it
    (tierwise_policy.failures), `memory` bytes and `cpus` per node asked, `time_limit` seconds, 0 for none or unknown.
    `action` is what we did about it, in people's words."""

    restart: Count
    state: Words
    cause: Words
    exit_code: Count
    exit_signal: Count
    memory: Count
    peak: Count
    time_limit: Count
    started: Count
    ended: Count
    nodes: Words = ""
    action: Words = ""
    cpus: Count = 0


class JobView(msgspec.Struct, frozen=True, gc=False):
    """A job as the service knows it (`GET /v1/jobs`, `/v1/jobs/ID`): its submission and what each node says."""

    job_id: Count
    token: Token
    uid: Count
    directive: Directive
    state: Literal["submitted", "running", "ended"]
    samples: dict[NodeName, JobSample] = {}
    reports: tuple[JobReport, ...] = ()
    notices: ShortTuple = ()
    attempts: Annotated[tuple[Attempt, ...], Meta(max_length=64)] = ()
    """The runs that Slurm has told of, oldest first."""


class Health(msgspec.Struct, frozen=True, gc=False):
    """`GET /healthz`. `ok` is false when something is degraded; the service still answers what it can."""

    ok: bool
    version: str
    database: str
    spooled: Count
    """Reports waiting on disk for the database."""
    nodes_up: Count
    nodes_silent: Count
    problems: ShortTuple = ()


class ReadTurn(msgspec.Struct, frozen=True, gc=False):
    """Agent to service, before it stages a source and while it does: may this node read it? (`POST /v1/stage/turns`)

    `source` is a digest of path, size and time of change: the same on every node. `done`: it has read.
    """

    node: NodeName
    source: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    done: bool = False


class ReadTurnAnswer(msgspec.Struct, frozen=True, gc=False):
    """`granted` is false where enough nodes read that source already: ask again."""

    granted: bool


class StagedCopy(msgspec.Struct, frozen=True, gc=False):
    """One row of `tierctl stage list`: a copy on a tier, or one that is being made (`copied` < `size`).

    `mine`: the caller made it, or is root. `holders` are jobs (`job:ID`) and processes (`pid:PID`), only the caller's
    own unless it is root; `held` counts all. Times are ns since the epoch.
    """

    node: NodeName
    tier: TierName
    source: Annotated[str, Meta(max_length=4096)]
    path: Annotated[str, Meta(max_length=4096)]
    size: Count
    copied: Count
    owner: Count
    public: bool
    pinned: bool
    hits: Count
    used: Count
    held: Count
    holders: Annotated[tuple[Words, ...], Meta(max_length=4096)] = ()


class Event(msgspec.Struct, frozen=True, gc=False):
    """One line of `tierctl events`: what an agent did with pages, and why. `number` grows, over its restarts too.

    `pages` of the base size went from tier `source` to `target` (`zram`: below the slowest); `what` is promoted,
    demoted or a word of its own.
    """

    number: Count
    time: Count
    what: Words
    job_id: Count = 0
    source: TierName = ""
    target: TierName = ""
    pages: Count = 0
    why: Words = ""


class Mechanism(msgspec.Struct, frozen=True, gc=False):
    """One row of `tierctl doctor`: a kernel or Slurm mechanism, whether it is used, and why or why not."""

    name: str
    state: Literal["used", "fallback", "missing", "off"]
    detail: str
    advice: str = ""

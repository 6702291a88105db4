"""The configuration: one TOML file for all daemons and tools, typed here and documented in etc/tierwise.toml.

`TIERWISE_CONFIG` or `--config` names the file; without either it is /etc/tierwise/tierwise.toml, and where that
does not exist the defaults below hold. A key that is not known is an error: a typo must not pass in silence.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tierwise.errors import ConfigError

DEFAULT_PATH = Path("/etc/tierwise/tierwise.toml")
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(gt=0.0, le=86400.0)]
Hours = Annotated[float, Meta(gt=0.0, le=8784.0)]
SizingPolicy = Literal["advise", "fill", "enforce"]
Days = Annotated[float, Meta(gt=0.0, le=36500.0)]


class TierConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the admin knows better than sysfs about a tier: its NUMA nodes, and its figures where set."""

    numa_nodes: tuple[Natural, ...]
    latency_ns: Positive | None = None
    bandwidth: Positive | None = None
    """Bytes per second."""


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The decision service. Empty `listen` switches TCP off; sockets are made 0666 and check peer uids."""

    listen: str = "0.0.0.0:6830"
    socket: str = "/run/tierwise/decision.sock"
    hook_socket: str = "/run/tierwise/hook.sock"
    database: str = "sqlite:////var/lib/tierwise/decision/tierwise.db"
    spool: str = "/var/lib/tierwise/decision/spool"
    agent_uids: tuple[int, ...] = (0,)
    """Who may send samples and reports: the uid that agents run as."""
    hook_uids: tuple[int, ...] = ()
    """Who may ask on the hook socket, besides the service's own uid and root: SlurmUser, where it is another."""
    admin_uids: tuple[int, ...] = (0,)
    """Who may see every user's jobs, besides the service's own uid."""
    gres: bool = True
    """Whether the hook writes GRES for tiers (needs GresTypes and Gres in slurm.conf)."""
    prefer: dict[str, str] = {}
    """Memory class to a node feature that its jobs softly prefer (`LAT = "fastmem"`)."""
    sizing: dict[str, SizingPolicy] = {}
    """Partition (`*`: all others) to how far estimates go for jobs that say --tier=auto: only said (`advise`, where
    nothing is set), filled in where the user gave nothing, or enforced instead of what the user gave."""
    stage_readers: Annotated[int, Meta(ge=0, le=100_000)] = 16
    """How many nodes read one source for staging at the same time; 0: as many as want to."""
    unclaimed_hours: Hours = 24.0
    """After this many hours a token that no agent claimed is forgotten."""
    measurement_days: Days = 2.0
    """How long measurements of nodes are kept as they came; then by the hour."""
    history_days: Days = 90.0
    """How long the hourly ones are kept, and events of nodes, and what completed runs met."""
    job_days: Days = 365.0
    """How long ended jobs are kept: their requests, plans and reports, and what estimates are learned from."""
    user_rate: Annotated[float, Meta(ge=0.0, le=1e6)] = 20.0
    """Requests a second of one user that are answered, with bursts of ten seconds' worth; 0: as many as come."""
    weights: tuple[str, ...] = ()
    """The partitions whose lastingly loaded nodes Slurm takes last, by weights; empty: none."""
    exclude: bool = True
    """Whether jobs are kept off stragglers and nodes that lack what they ask for, a tenth of the nodes at most."""


class StageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Staged copies and scratch on a node's tiers. `%n` stands for the Slurm NodeName in the path."""

    path: str = "/run/tierwise/stage-%n"
    """Where their tmpfs are mounted, outside /tmp and /dev/shm; empty: neither staging nor scratch."""
    share: Share = 0.25
    """The part of each tier that staged copies may fill; 0: no staging."""
    user_share: Share = 0.5
    """The part of that which the copies of one user may fill."""
    lease: Seconds = 3600.0
    """Seconds that a copy stays after its last holder has gone, unless room is needed before."""


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The node agent. `%n` stands for the Slurm NodeName in paths."""

    service: str | Annotated[tuple[str, ...], Meta(min_length=1)] = "http://localhost:6830"
    """Where the decision service is; several on one database: the next one is asked where one can't be reached."""
    service_uids: tuple[int, ...] = (0,)
    """Whose credentials on the service's answers are believed: the uid that the service runs as."""
    socket: str = "/run/tierwise/agent-%n.sock"
    state: str = "/var/lib/tierwise/agent-%n"
    cgroup: Annotated[str, Meta(pattern="^$|^/sys/fs/cgroup/.")] = ""
    """The cgroup below which this node's Slurm puts jobs; empty: found (v1: slurm_NODE or slurm, v2:
    system.slice/NODE_slurmstepd.scope or system.slice/slurmstepd.scope)."""
    capacity_share: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    """The part of each tier that belongs to this NodeName (several slurmds on one host)."""
    sample_interval: Seconds = 1.0
    report_interval: Seconds = 10.0
    pin_share: Share = 0.5
    """The part of a LAT or SHL request that is pinned, at most."""
    move_limit: Natural = 0
    """Bytes per second that we move at most on this node, each way; 0: a tenth of the slowest tier's bandwidth."""
    margin: Share = 0.01
    """The part of each tier that movement keeps free, where the kernel's watermarks don't ask for more."""
    below_last: Natural = 0
    """Bytes of cold memory of the slowest tier that the agent may page out to a zram of its own; 0: none."""
    interleave_weights: bool = True
    """Whether the agent owns the host's weighted-interleave weights (and restores them when it stops)."""
    local_huge_pages: bool = True
    """Whether the agent sets the host's transparent_hugepage/defrag to `defer`, so that no page fault takes a huge page
    of a slower tier (and restores it when it stops)."""
    stage: StageConfig = StageConfig()
    shared_share: Share = 0.25
    """The part of all tiers together that one user's named regions may take on a node."""
    retain: str = ""
    """A folder on a persistent tier (a DAX file system on pmem) for regions that outlive their holders; empty: none."""
    tiers: dict[str, TierConfig] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """`service`, one or several."""
        return (self.service,) if isinstance(self.service, str) else self.service


class MungeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where munged listens; empty: libmunge's default."""

    socket: str = ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file, a section a room."""

    service: ServiceConfig = ServiceConfig()
    agent: AgentConfig = AgentConfig()
    munge: MungeConfig = MungeConfig()
    slurm_conf: str = ""
    """Path of slurm.conf for the Slurm commands that we run; empty: Slurm's own default."""


def load_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the configuration. Raises ConfigError, naming file and key."""
    chosen = Path(path or os.environ.get("TIERWISE_CONFIG") or DEFAULT_PATH)
    try:
        text = chosen.read_bytes()
    except FileNotFoundError:
        if path is None and "TIERWISE_CONFIG" not in os.environ:
            return Config()
        raise ConfigError(f"configuration {chosen} does not exist: create it or drop --config") from None
    except OSError as error:
        raise ConfigError(f"could not read configuration {chosen}: {error.strerror}") from None
    try:
        return msgspec.toml.decode(text, type=Config)
    except msgspec.DecodeError as error:  # ValidationError is one too
        raise ConfigError(f"configuration {chosen}: {error}") from None

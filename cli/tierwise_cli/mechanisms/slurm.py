"""Doctor's rows for Slurm: what of it we use here, and what is in the way."""

from pathlib import Path

from tierwise.config import Config
from tierwise.errors import UnavailableError
from tierwise.messages import Mechanism
from tierwise.tiers import GRES_PREFIX
from tierwise_cli.mechanisms import slurmconf
from tierwise_cli.mechanisms.hook import hook
from tierwise_cli.mechanisms.slurmconf import Settings, first, items
from tierwise_cli.mechanisms.spank import spank

_FILES = {"Prolog": "prolog", "Epilog": "epilog", "EpilogSlurmctld": "epilog_slurmctld"}


def slurm(config: Config) -> list[Mechanism]:
    """The rows; a single one where Slurm does not answer."""
    try:
        settings = slurmconf.read(config.slurm_conf)
    except UnavailableError as error:
        return [Mechanism("slurmctld", "missing", str(error), "is Slurm installed here, and slurmctld running?")]
    return rows(settings, config)


def rows(settings: Settings, config: Config) -> list[Mechanism]:
    """The rows for what `scontrol show config` said."""
    return [
        Mechanism("slurmctld", "used", f"Slurm {first(settings, 'SLURM_VERSION')}"),
        spank(settings),
        *hook(settings, config),
        _script(settings, "Prolog", "plans are made by a job's first task"),
        _script(settings, "Epilog", "the agent sees a job's end when its cgroup is gone"),
        _script(settings, "EpilogSlurmctld", "jobs with --tier-retry are not requeued when they fail"),
        _history(settings),
        _prolog_flags(settings),
        _gres(settings, config),
        _memory(settings),
    ]


def _script(settings: Settings, name: str, without: str) -> Mechanism:
    paths = settings.get(name, ())
    if any(_is_ours(Path(path)) for path in paths):
        return Mechanism(name, "used", ", ".join(paths))
    detail = f"{', '.join(paths) or 'none'}: {without}"
    return Mechanism(name, "fallback", detail, f"{name}=/usr/lib/tierwise/{_FILES[name]} in slurm.conf")


def _is_ours(path: Path) -> bool:
    """By its path, or because a site's own script calls ours."""
    if "tierwise" in str(path):
        return True
    try:
        return b"tierwise" in path.read_bytes()[:65536]
    except OSError:
        return False


def _history(settings: Settings) -> Mechanism:
    """Who tells the service that jobs have ended."""
    if first(settings, "AccountingStorageType") == "accounting_storage/slurmdbd":
        return Mechanism("ended jobs", "used", "from slurmdbd, by sacct")
    if first(settings, "JobCompType") == "jobcomp/script" and "tierwise" in first(settings, "JobCompLoc"):
        return Mechanism("ended jobs", "used", f"from {first(settings, 'JobCompLoc')}")
    if any(_is_ours(Path(path)) for path in settings.get("EpilogSlurmctld", ())):
        return Mechanism("ended jobs", "used", "from EpilogSlurmctld")
    detail = "nobody tells the service of ended jobs: it can't learn from them"
    return Mechanism(
        "ended jobs", "missing", detail, "EpilogSlurmctld=/usr/lib/tierwise/epilog_slurmctld in slurm.conf"
    )


def _prolog_flags(settings: Settings) -> Mechanism:
    flags = items(settings, "PrologFlags")
    if {"alloc", "contain", "x11"} & {flag.lower() for flag in flags}:
        return Mechanism("PrologFlags", "used", f"{','.join(flags)}: the prolog comes before the job's first task")
    detail = "no Alloc: the prolog comes with the first step, plans are made then"
    return Mechanism("PrologFlags", "fallback", detail, "PrologFlags=Alloc lets the agent make room earlier")


def _gres(settings: Settings, config: Config) -> Mechanism:
    tiers = [kind for kind in items(settings, "GresTypes") if kind.startswith(GRES_PREFIX)]
    if not config.service.gres:
        return Mechanism("GRES per tier", "off", "service.gres is false: Slurm does not count tiers")
    if tiers:
        return Mechanism("GRES per tier", "used", ",".join(tiers))
    detail = "GresTypes names no tier: Slurm may start more jobs on a node than its tiers hold"
    return Mechanism("GRES per tier", "missing", detail, "add GresTypes and Gres from etc/slurm/slurm.conf.snippet")


def _memory(settings: Settings) -> Mechanism:
    parameters = items(settings, "SelectTypeParameters")
    if any("MEMORY" in parameter.upper() for parameter in parameters):
        return Mechanism("memory is consumable", "used", ",".join(parameters))
    detail = f"{','.join(parameters) or 'none'}: Slurm does not track memory, so `%` and open sizes have no base"
    return Mechanism("memory is consumable", "fallback", detail, "SelectTypeParameters=CR_Core_Memory")

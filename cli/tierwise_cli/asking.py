"""Whom tierctl asks: the decision service, and the agents of this host."""

import re
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import TypeVar

import msgspec

from tierwise.client import DecisionClient
from tierwise.config import Config
from tierwise.errors import ProtocolError, RefusedError, TierwiseError, UnavailableError
from tierwise.local import ask
from tierwise.messages import (
    Event,
    Heatmap,
    JobSample,
    JobView,
    Mechanism,
    NodeName,
    NodeSample,
    NodeView,
    RegionView,
    StagedCopy,
)
from tierwise.munge import Munge
from tierwise_cli.settings import Settings

T = TypeVar("T")


def service(settings: Settings, timeout: float = 5.0) -> DecisionClient:
    """The decision service: as given, else its socket where it runs on this host, else where agents report to."""
    config = settings.config
    where = settings.service
    if where is None:
        where = config.service.socket if Path(config.service.socket).is_socket() else config.agent.services[0]
    if where.startswith("/"):
        return DecisionClient(where, timeout=timeout)
    munge = Munge(config.munge.socket)
    return DecisionClient(where, munge=munge, service_uids=config.agent.service_uids, timeout=timeout)


def agent_sockets(settings: Settings) -> list[str]:
    """The sockets of this host's agents: one for each Slurm NodeName here. Raises UnavailableError without any."""
    if settings.agent is not None:
        return [settings.agent]
    pattern = settings.config.agent.socket
    found = sorted(glob(_as_glob(pattern)))
    if not found:
        raise UnavailableError(f"no agent runs here: nothing at {pattern} (start tierwise-agent, or use --agent)")
    return found


def local_nodes(settings: Settings) -> list[NodeView]:
    """What this host's agents say of their nodes. Raises TierwiseError when none answers."""
    samples = _from_agents(settings, {"op": "status"}, NodeSample)
    return [NodeView(sample, 0.0, "up") for sample in samples.values()]


def local_job(settings: Settings, job_id: int) -> JobView:
    """A job as this host's agents see it. Raises RefusedError when none of them knows it, or we may not see it."""
    samples = _from_agents(settings, {"op": "job", "job_id": job_id}, JobSample)
    first = next(iter(samples.values()))
    return JobView(
        job_id=job_id,
        token=first.key.token,
        uid=first.uid,
        directive=first.directive,
        state="running",
        samples={_node_of(settings, path): sample for path, sample in samples.items()},
    )


def heatmaps(settings: Settings, job_id: int, rows: int, columns: int) -> dict[NodeName, Heatmap]:
    """A job's heatmap by this host's agents that have seen it. Raises TierwiseError when none has."""
    question: dict[str, str | int] = {"op": "heatmap", "job_id": job_id, "rows": rows, "columns": columns}
    found = _from_agents(settings, question, Heatmap)
    return {_node_of(settings, path): heatmap for path, heatmap in found.items()}


def events(path: str, since: int, job_id: int) -> list[Event]:
    """What the agent at socket `path` did after its event `since`; job 0: for all jobs that we may see."""
    return _decoded(path, ask(path, {"op": "events", "since": since, "job_id": job_id}), list[Event])


def mechanisms(path: str) -> list[Mechanism]:
    """What the agent at socket `path` says of its kernel and of itself."""
    return _decoded(path, ask(path, {"op": "doctor"}, timeout=10.0), list[Mechanism])


def agent_name(config: Config, path: str) -> str:
    """The NodeName that stands for %n in an agent's socket path; the path itself where it does not match."""
    before, _, after = config.agent.socket.partition("%n")
    found = re.fullmatch(re.escape(before) + "(.+)" + re.escape(after), path)
    return found[1] if found else path


def staged_copies(settings: Settings) -> list[StagedCopy]:
    """The staged copies on this host that the caller may see."""
    answers = _from_agents(settings, {"op": "stage_list"}, list[StagedCopy])
    return [copy for copies in answers.values() for copy in copies]


def regions(settings: Settings) -> dict[str, list[RegionView]]:
    """The named regions on this host that the caller may see, by node."""
    answers = _from_agents(settings, {"op": "memory_regions"}, list[RegionView])
    return {_node_of(settings, path): found for path, found in answers.items()}


def any_agent(settings: Settings, question: dict[str, str | int], timeout: float = 30.0) -> None:
    """Put a question of which one agent's yes is enough. Raises TierwiseError where all say no."""
    errors: list[TierwiseError] = []
    sockets = agent_sockets(settings)
    for path in sockets:
        try:
            ask(path, question, timeout)
        except TierwiseError as error:
            errors.append(error)
    if len(errors) == len(sockets):
        raise _worst(errors)


def _from_agents(settings: Settings, question: dict[str, str | int], kind: type[T]) -> dict[str, T]:
    answers: dict[str, T] = {}
    errors: list[TierwiseError] = []
    for path in agent_sockets(settings):
        try:
            answers[path] = _decoded(path, ask(path, question), kind)
        except TierwiseError as error:
            errors.append(error)
    if not answers:
        raise _worst(errors)
    return answers


def _worst(errors: Sequence[TierwiseError]) -> TierwiseError:
    """A refusal says more than a silence."""
    return next((error for error in errors if isinstance(error, RefusedError)), errors[0])


def _decoded(path: str, answer: dict[str, str], kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.get("json", ""), type=kind)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"the agent at {path} answered what it should not: {error}") from None


def _node_of(settings: Settings, path: str) -> str:
    return agent_name(settings.config, path)


def _as_glob(pattern: str) -> str:
    before, percent, after = pattern.partition("%n")
    return f"{before}*{after}" if percent else pattern

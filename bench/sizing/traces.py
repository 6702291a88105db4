"""Traces of workflow tasks as Nextflow writes them: CSV, packed or not, one line a task."""

import csv
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Submitted:
    """What a predictor may know when a task is submitted. Sizes in bytes."""

    process: str
    input_bytes: int
    asked: int


@dataclass(frozen=True)
class Task:
    """A task as it ran. `peak` in bytes, `seconds` of run time; `submit` and `complete` in ms since the epoch."""

    submitted: Submitted
    peak: int
    seconds: float
    submit: int
    complete: int


def read(path: Path) -> list[Task]:
    """The tasks of a trace in order of submission; those whose memory was not measured are left out."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as lines:
        return sorted(_tasks(csv.DictReader(lines)), key=lambda task: task.submit)


def workflow(path: Path) -> str:
    """What a trace is called: `trace_eager.csv.gz` is eager."""
    return path.name.split(".")[0].removeprefix("trace_")


def _tasks(rows: Iterable[dict[str, str]]) -> Iterator[Task]:
    for row in rows:
        peak, asked, time = (_number(row.get(name)) for name in ("peak_rss", "memory", "realtime"))
        if peak > 0 and asked > 0:
            known = Submitted(row["process"], _number(row.get("rchar")), asked)
            yield Task(known, peak, time / 1000, _number(row.get("submit")), _number(row.get("complete")))


def _number(text: str | None) -> int:
    """Nextflow writes `-` for what it could not measure."""
    return int(float(text)) if text and text != "-" else 0

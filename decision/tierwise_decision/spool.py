"""Reports that wait on disk because the database did not take them. A report is a job's whole story: never lost."""

import contextlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from tierwise.errors import TierwiseError
from tierwise.messages import JobReport

MAX_REPORTS = 100_000


class SpoolError(TierwiseError):
    """The spool can't take a report."""


class Spool:
    """A directory with a file for each report, named by its key, so that a repeated one replaces itself."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._count: int | None = None

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self._paths())
        return self._count

    def put(self, report: JobReport) -> None:
        """Keep a report, on disk when this returns. Raises SpoolError."""
        if len(self) >= MAX_REPORTS:
            raise SpoolError(f"{self._directory} holds {len(self)} reports already: mend the database")
        key = report.key
        path = self._directory / f"{key.job_id}.{key.restart}.{key.token or 'none'}.{report.node}.json"
        fresh = path.with_suffix(".new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            known = path.exists()
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(report))
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        except OSError as error:
            raise SpoolError(f"could not keep a report in {self._directory}: {error.strerror}") from None
        self._count = len(self) + (not known)

    def some(self, limit: int) -> list[tuple[Path, JobReport]]:
        """Some reports to try again, with their files. What can't be read is set aside as `.bad`."""
        found: list[tuple[Path, JobReport]] = []
        for path in islice(self._paths(), limit):
            try:
                found.append((path, msgspec.json.decode(path.read_bytes(), type=JobReport)))
            except msgspec.DecodeError:
                self._leave(path, path.with_suffix(".bad"))
            except OSError:
                continue
        return found

    def remove(self, path: Path) -> None:
        """The database has it now."""
        self._leave(path, None)

    def refuse(self, path: Path) -> None:
        """The database will never have it: set it aside as `.bad` for a person to look at."""
        self._leave(path, path.with_suffix(".bad"))

    def _leave(self, path: Path, aside: Path | None) -> None:
        with contextlib.suppress(OSError):
            if aside:
                path.rename(aside)
            else:
                path.unlink()
            self._count = len(self) - 1

    def _paths(self) -> Iterator[Path]:
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            yield from (Path(entry.path) for entry in entries if entry.name.endswith(".json"))

"""Backup while the service runs, and the way back, by the commands of docs/admin.md."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conftest import PostgreSQL
from decision_service import Service, job_report

ADMIN = (Path(__file__).parents[2] / "docs" / "admin.md").read_text()


def jobs(service: Service) -> set[int]:
    return {job.job_id for job in service.client().jobs("ended")}


def test_sqlite(make_service: Callable[..., Service], tmp_path: Path) -> None:
    service = make_service().start()
    service.client().report(job_report(1))
    program = re.search(r"python3 -c '(import sqlite3.+?)'", ADMIN)
    assert program
    database, copy = service.directory / "state" / "tierwise.db", tmp_path / "copy.db"
    subprocess.run([sys.executable, "-c", program[1], database, copy], check=True)
    service.client().report(job_report(2))
    assert jobs(service) == {1, 2}
    assert service.stop() == 0
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    copy.replace(database)
    service.start()
    assert jobs(service) == {1}
    service.client().report(job_report(3))
    assert jobs(service) == {1, 3}


def test_postgresql(make_service: Callable[..., Service], postgresql: PostgreSQL) -> None:
    service = make_service(database=postgresql.url).start()
    service.client().report(job_report(1))
    dump = postgresql.directory / "tierwise.dump"
    assert "pg_dump --format=custom --file=" in ADMIN
    postgresql.run("pg_dump", "-h", str(postgresql.directory), "--format=custom", f"--file={dump}", "postgres")
    service.client().report(job_report(2))
    assert service.stop() == 0
    assert "pg_restore --clean --if-exists --dbname=" in ADMIN
    where = ("-h", str(postgresql.directory), "--dbname=postgres")
    postgresql.run("pg_restore", *where, "--clean", "--if-exists", str(dump))
    service.start()
    assert jobs(service) == {1}
    service.client().report(job_report(3))
    assert postgresql.sql("SELECT job_id FROM reports ORDER BY 1") == "1\n3"

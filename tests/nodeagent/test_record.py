"""A job's record: what its samples add up to, and that the journal keeps it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.messages import JobReport, PlanKey, UsePoint
from tierwise.plans import Moves, Part, Plan
from tierwise_node.cgroups import Usage
from tierwise_node.journal import Journal
from tierwise_node.record import MAX_POINTS, SECOND, JobRecord

PLAN = Plan((Part("LAT", 100, {"dram": 60, "cxl": 40}),))


def record(job_id: int = 1) -> JobRecord:
    return JobRecord(PlanKey(job_id), 1000, started=0, directive="lat:100", memory=100, plan=PLAN)


def test_bytes_times_seconds_are_the_area_under_the_samples() -> None:
    job = record()
    for second, size in ((1, 0), (2, 100), (3, 100), (5, 50)):
        job.observe(second * SECOND, {"dram": size}, Usage())
    report = job.report("n1", 6 * SECOND, "epilog", ())
    assert report.tiers["dram"].byte_seconds == 50 + 100 + 150
    assert report.tiers["dram"].peak == 100
    assert report.tiers["dram"].mean == 300 // 4
    assert report.gaps == 0


def test_a_gap_counts_its_seconds_and_the_mean_of_both_ends() -> None:
    job = record()
    job.observe(1 * SECOND, {"dram": 100}, Usage())
    job.observe(11 * SECOND, {"dram": 200}, Usage(), gap=True)
    report = job.report("n1", 12 * SECOND, "gone", ())
    assert report.gaps == 10
    assert report.tiers["dram"].byte_seconds == 1500
    assert report.end == "gone"


def test_counters_never_go_back() -> None:
    job = record()
    job.observe(1, {"dram": 5}, Usage(peak=90, minor_faults=7, major_faults=2, oom_kills=1))
    job.observe(2, {"dram": 5}, Usage())
    assert (job.peak, job.minor_faults, job.major_faults, job.oom_kills) == (90, 7, 2, 1)


def test_agreement_counts_only_once_growth_has_stopped_and_the_excess_had_its_time() -> None:
    job = record()
    samples = [(1, 100, False), (2, 200, False), (3, 200, False), (4, 200, True), (5, 200, True), (6, 200, False)]
    for second, size, agrees in samples:
        job.observe(second * SECOND, {"dram": size}, Usage())
        job.compare(second * SECOND, agrees, excess_seconds=1.5)
    assert (job.settled_samples, job.agreed_samples) == (3, 2)
    assert job.report("n1", 7, "epilog", ()).agreed == pytest.approx(2 / 3)


@given(st.floats(0.1, 10), st.integers(1, 3000))
def test_a_curve_has_never_more_points_than_a_report_takes(interval: float, samples: int) -> None:
    job = record()
    curve: list[UsePoint] = []
    for number in range(samples):
        job.observe(int(number * interval * SECOND), {"dram": number}, Usage())
        if point := job.take_point(int(number * interval * SECOND), interval):
            curve.append(point)
            if job.points >= MAX_POINTS:
                curve = curve[::2]
                job.thin_out()
        assert job.points == len(curve)
    assert len(curve) < MAX_POINTS
    assert [point.at for point in curve] == sorted(point.at for point in curve)
    assert curve[0].at == 0


def test_the_journal_keeps_records_curves_and_reports(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    job, other = record(1), record(2)
    job.moves += Moves(4, 3, 1, 0)
    journal.save(job, other)
    for at in range(5):
        journal.save(points=((job, UsePoint(float(at), {"dram": at})),))
    journal.thin_out(job)
    journal.save(points=((job, UsePoint(5.0, {"dram": 5})),))
    journal.close()

    again = Journal(tmp_path / "state")
    assert {each.key.job_id for each in again.records()} == {1, 2}
    assert next(each for each in again.records() if each.key.job_id == 1) == job
    curve = again.curve(job)
    assert [point.at for point in curve] == [0.0, 2.0, 4.0, 5.0]
    report = job.report("n1", 9, "epilog", curve)
    again.end(job, report)
    assert [each.key.job_id for each in again.records()] == [2]
    assert again.curve(job) == ()
    ((number, queued),) = again.queued()
    assert queued == report
    again.delivered(number)
    assert again.queued() == []
    again.close()


def test_a_report_that_cannot_be_read_holds_up_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    for job_id in (1, 2, 3):
        job = record(job_id)
        journal.end(job, job.report("n1", 9, "epilog", ()))
    with journal._database as database:
        database.execute("UPDATE reports SET report = x'7b226e6f6465223a22fffe227d' WHERE number = 1")  # no UTF-8
        database.execute("UPDATE reports SET report = '{}' WHERE number = 2")
    assert journal.queued(most=2) == []
    for _ in range(2):
        assert [report.key.job_id for _, report in journal.queued(most=2)] == [3]
    assert caplog.text.count("2 reports can't be read: set aside") == 1
    assert journal._database.execute("SELECT COUNT(*) FROM unreadable").fetchone() == (2,)
    assert journal.problem == ""
    journal.close()


def test_a_journal_of_another_version_is_set_aside(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.db") as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    journal = Journal(tmp_path)
    assert journal.records() == []
    assert journal.problem == ""
    assert len(list(tmp_path.glob("*.damaged"))) == 1
    journal.close()


def test_a_disk_that_fills_up_is_said_and_not_fatal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal._database.execute("PRAGMA max_page_count=12")
    for job_id in range(2000):
        journal.save(record(job_id))
    assert "full" in journal.problem
    journal.close()


def test_reports_are_what_the_service_takes() -> None:
    job = record()
    job.observe(SECOND, {"dram": 3, "cxl": 4}, Usage())
    assert isinstance(job.report("n1", 2 * SECOND, "epilog", ()), JobReport)


def test_a_damaged_page_and_entries_that_can_not_be_read_are_not_fatal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for job_id in range(200):
        journal.save(record(job_id))
    journal.end(record(1), record(1).report("n1", 9, "epilog", ()))
    journal._database.execute("UPDATE jobs SET record = ? WHERE job_id = 7", (b"junk",))
    journal._database.execute("INSERT INTO reports (report) VALUES ('junk')")
    journal._database.commit()
    assert len(journal.records()) == 198
    assert len(journal.queued()) == 1
    journal.close()
    with (tmp_path / "journal.db").open("r+b") as file:  # the header stays: it opens
        file.seek(4096)
        file.write(b"\xff" * (file.seek(0, 2) - file.seek(4096)))
    journal = Journal(tmp_path)
    assert journal.records() == []
    journal.save(record(3))
    assert [each.key.job_id for each in journal.records()] == [3]
    assert journal.problem == ""
    journal.close()

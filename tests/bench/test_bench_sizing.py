"""The rules of bench-sizing, and its baselines, on a few tasks made here."""

import gzip
from pathlib import Path

import pytest
from sizing.ours import Tierwise
from sizing.replay import Predictor, replay, replay_in_flight, wasted
from sizing.sizey import Argmax, Sizey
from sizing.traces import Submitted, Task, read, workflow
from sizing.witt import Asked, WittPercentile, WittRegression

GB = 1_000_000_000
HEAD = "task_id,process,memory,realtime,peak_rss,rchar,submit,complete"


def task(peak: float, *, number: int = 0, process: str = "align", asked: float = 8.0, hours: float = 1.0) -> Task:
    """A task of so many GB; its input is a quarter of its peak."""
    known = Submitted(process, int(peak * GB / 4), int(asked * GB))
    return Task(known, int(peak * GB), hours * 3600, number, number + 1)


def test_a_trace_is_read_in_order_of_submission_without_what_was_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "trace_small.csv.gz"
    lines = ["2,sort,4000,60000,1000,7,20,30", "1,align,8000,1500,2000,-,10,25", "3,sort,4000,60000,-,7,30,40"]
    path.write_bytes(gzip.compress("\n".join([HEAD, *lines]).encode()))
    assert workflow(path) == "small"
    assert read(path) == [
        Task(Submitted("align", 0, 8000), 2000, 1.5, 10, 25),
        Task(Submitted("sort", 7, 4000), 1000, 60.0, 20, 30),
    ]


def test_too_much_is_wasted_for_the_tasks_time() -> None:
    assert wasted(task(2, hours=3), 5 * GB) == pytest.approx(9)


def test_a_failure_wastes_all_of_its_allocation_and_is_doubled() -> None:
    assert wasted(task(5), 2 * GB) == pytest.approx(2 + 4 + 3)


@pytest.mark.parametrize("make", [WittPercentile, WittRegression, Sizey, Tierwise])
def test_until_a_process_has_run_the_users_request_holds(make: type) -> None:
    predictor: Predictor = make()
    predictor.observe(task(3, process="other"))
    assert predictor.predict(task(3).submitted) == 8 * GB


@pytest.mark.parametrize("make", [WittPercentile, WittRegression, Sizey, Tierwise])
def test_every_method_learns_a_peak_that_follows_the_input(make: type) -> None:
    tasks = [task(2 + number % 5 * 0.2, number=number) for number in range(16)]
    score = replay(tasks, make())
    assert score.tasks == 16
    assert score.waste < replay(tasks, Asked()).waste / 2


def test_the_published_percentile_and_line() -> None:
    percentile, line = WittPercentile(), WittRegression()
    for number, peak in enumerate((1.0, 2.0, 3.0)):
        for predictor in (percentile, line):
            predictor.observe(task(peak, number=number))
    assert percentile.predict(task(9).submitted) == pytest.approx(2.9 * GB)
    assert line.predict(task(4).submitted) == pytest.approx(4 * GB)


def test_sizeys_other_strategy_says_something_for_each_task() -> None:
    tasks = [task(2 + number % 5 * 0.2, number=number) for number in range(12)]
    models = Sizey()
    replay(tasks, models)
    score = replay(tasks, Argmax(models))
    assert score.tasks == len(models.by_argmax) == 12
    assert score.waste < replay(tasks, Asked()).waste / 2


def test_what_is_still_running_is_not_known() -> None:
    together = [task(2, number=0) for _ in range(4)]
    assert replay_in_flight(together, Tierwise()).waste == replay(together, Asked()).waste
    assert replay(together, Tierwise()).waste < replay(together, Asked()).waste / 2

"""`make bench-sizing`: Tierwise's estimator beside the user's request, Witt's two methods and Sizey (issue 4).

    python -m sizing TRACE…

The two cores work on Sizey's workflows; Tierwise runs afterwards, alone, so that its times are its own.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import inf
from pathlib import Path
from statistics import median

from figures import Figure, publish
from rich.console import Console
from rich.table import Table

from sizing.ours import Tierwise
from sizing.replay import Predictor, Score, percentile, replay, replay_in_flight
from sizing.sizey import Argmax, Sizey
from sizing.traces import read, workflow
from sizing.witt import Asked, WittPercentile, WittRegression

BASELINES: dict[str, Callable[[], Predictor]] = {
    "the user's request": Asked,
    "Witt percentile": WittPercentile,
    "Witt regression": WittRegression,
    "Sizey": Sizey,
}
ARGMAX = "Sizey argmax"
SIZEY = ("Sizey", ARGMAX)
"""Sizey's two strategies, of the same models; too slow to be replayed a second time with tasks in flight."""
Results = dict[str, dict[str, Score]]
"""Scores by workflow and method."""


def main(paths: Sequence[Path]) -> None:
    """Replay every trace with every method; print, and write build/bench/sizing.json."""
    for path in paths:
        if not read(path):
            sys.exit(f"{path} holds no task whose memory was asked for and measured (columns memory, peak_rss)")
    jobs = [
        (path, name) for name in reversed(BASELINES) for path in sorted(paths, key=lambda path: -path.stat().st_size)
    ]
    with ProcessPoolExecutor() as workers:
        scores = dict(zip(jobs, workers.map(_baseline, *zip(*jobs, strict=True)), strict=True))
    results: Results = {}
    flying: Results = {}
    for path in paths:
        tasks = read(path)
        known = {name: score for baseline in BASELINES for name, score in scores[path, baseline].items()}
        results[workflow(path)] = known | {"Tierwise": replay(tasks, Tierwise())}
        quick = {name: make for name, make in BASELINES.items() if name not in SIZEY} | {"Tierwise": Tierwise}
        flying[workflow(path)] = {name: replay_in_flight(tasks, make()) for name, make in quick.items()}
    _table("Waste in GBh, and share of tasks whose first attempt failed", results)
    _table("The same where a task is known only once it has ended (not in the figures below)", flying)
    publish("sizing", _figures(results), runs=1)


def _baseline(path: Path, name: str) -> dict[str, Score]:
    """A method's score by its name; Sizey's by two."""
    tasks, predictor = read(path), BASELINES[name]()
    found = {name: replay(tasks, predictor)}
    if isinstance(predictor, Sizey):
        found[ARGMAX] = replay(tasks, Argmax(predictor))
    return found


def _best(score: Score) -> float:
    """A method's waste with doubling, or with its own answer to failures, whichever is less."""
    return min(score.waste, score.waste_own_retry)


def _ratio(ours: float, theirs: float) -> float:
    """One where neither wastes anything: tasks may be too short to be timed."""
    return ours / theirs if theirs else 1.0 if not ours else inf


def _figures(results: Results) -> list[Figure]:
    ratios = [
        _ratio(scores["Tierwise"].waste, min(_best(score) for name, score in scores.items() if name != "Tierwise"))
        for scores in results.values()
    ]
    failures = [scores["Tierwise"].failure_ratio for scores in results.values()]
    times = [seconds for scores in results.values() for seconds in scores["Tierwise"].predict_times]
    figures = [
        Figure("median_waste_vs_best_baseline", "waste ÷ best baseline's, median", median(ratios), at_most=0.75),
        Figure("median_failure_ratio", "tasks that failed at first, median", median(failures), at_most=0.05),
        Figure("predict_ms_p99", "a prediction, p99, ms", percentile(times, 0.99) * 1e3, at_most=5.0),
    ]
    for name, scores in results.items():
        ours, sizey = scores["Tierwise"], min(_best(scores[strategy]) for strategy in SIZEY)
        figures += [
            Figure(f"{name}_waste_gbh", f"{name}: waste, GBh", ours.waste),
            Figure(f"{name}_waste_vs_sizey", f"{name}: waste ÷ Sizey's", _ratio(ours.waste, sizey), at_most=1.0),
            Figure(f"{name}_failure_ratio", f"{name}: tasks that failed at first", ours.failure_ratio, at_most=0.05),
        ]
    return figures


def _table(title: str, results: Results) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("workflow (tasks)")
    names = list(next(iter(results.values())))
    for name in names:
        table.add_column(name, justify="right")
    for label, scores in results.items():
        cells = [f"{_best(scores[name]):,.1f}  {scores[name].failure_ratio:6.1%}" for name in names]
        table.add_row(f"{label} ({scores[names[0]].tasks})", *cells)
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("no traces: make bench-sizing TRACES='FILE …' (CSV as Nextflow writes it, .gz or not)")
    main([Path(name) for name in sys.argv[1:]])

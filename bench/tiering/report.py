"""From results to what people read: a table in the terminal, flat keys in build/bench/tiering.json, and, for the
manual, a table in Markdown and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from figures import Figure, machine, publish

from tiering.compare import Estimate, against_the_claim, by_workflow, estimate, means, pairs
from tiering.machine import model_machine
from tiering.model import geometric_mean
from tiering.plot import plot
from tiering.results import SYSTEM, Result, load
from tiering.sizes import DIRECTIVES, DRAM_SHARE
from tiering.validate import Ratio

OURS, KERNEL, IDEAL, DEFERRED = "tierwise", "kernel", "ideal", "kernel-defer"
SLOWEST = "slowest CPU"
PEERS = {"kernel": "kernel_tiering", "constrained": "constrained", "ideal": "ideal", "damon": "damon"}


def validation(ratios: Sequence[Ratio], folder: Path) -> None:
    """Print the clock's ratios beside the configured ones, and keep them for the manual."""
    rows = {
        f"{each.kind}, {each.tier}": [f"{each.configured:.3f}", f"{each.clocked:.3f}", f"{each.error:+.1%}"]
        for each in ratios
    }
    table = _table("walk, tier", ["configured", "clock", "error"], rows)
    (folder / "validation.md").write_text(table)
    print(table)


def report(folder: Path, docs: Path | None) -> None:
    """Everything that the trials in `folder` have to say. ValueError without any."""
    every = load(folder)
    results = [result for result in every if result.dram == DRAM_SHARE]
    if not results:
        raise ValueError(f"no trials in {folder}: `python -m tiering measure` first")
    runs = min(_runs(results, environment) for environment in {result.environment for result in results})
    publish("tiering", _figures(results), runs)
    if docs is not None:
        (docs / "tiering-results.md").write_text(_document(results, every, folder))
        plot(results, docs / "tiering.svg")


def _runs(results: Sequence[Result], environment: str) -> int:
    return len({result.run for result in results if result.environment == environment})


def _figures(results: Sequence[Result]) -> list[Figure]:
    stated = model_machine()
    together = [result for result in results if result.together]
    alone = [result for result in results if not result.together]
    found = []
    headroom = _mean(together, KERNEL, IDEAL)
    if headroom:
        found.append(Figure("headroom", "kernel tiering ÷ all in DRAM, together", headroom.mean))
    ours, least = _mean(together, OURS, KERNEL), _mean(together, OURS, IDEAL)
    if headroom and ours and least:
        closed = (headroom.mean - least.mean) / (headroom.mean - 1)
        found.append(Figure("headroom_closed", "share of the headroom that Tierwise closes", closed, at_least=0.5))
        worst = max(float(np.mean(each)) for each in by_workflow(pairs(together, OURS, KERNEL), stated).values())
        found.append(Figure("worst_vs_kernel_tiering", "the worst workflow, ours ÷ kernel", worst, at_most=1.03))
    for name, trials in (("together", together), ("alone", alone)):
        for peer, key in PEERS.items():
            mean = _mean(trials, OURS, peer)
            if mean:
                budget = 1.0 if name == "together" and peer == "damon" else None
                found.append(Figure(f"{name}_vs_{key}", f"{name}, ours ÷ {peer}", mean.mean, at_most=budget))
            for workflow, ratios in by_workflow(pairs(trials, OURS, peer), stated).items():
                text = f"{name}, {workflow}, ours ÷ {peer}"
                found.append(Figure(f"{name}_vs_{key}_{workflow}", text, float(np.mean(ratios))))
    if headroom and ours:  # one more each: none is a good number of faults
        ours_had, theirs_had = (_job_faults(together, name, "major_faults") for name in (OURS, KERNEL))
        ratio = (ours_had + 1) / (theirs_had + 1)
        text = "major faults, (ours + 1) ÷ (kernel + 1)"
        found.append(Figure("major_faults_vs_kernel_tiering", text, ratio, at_most=1.0))
    return found


def _mean(results: Sequence[Result], ours: str, theirs: str) -> Estimate | None:
    found = pairs(results, ours, theirs)
    return estimate(means(found, model_machine())) if found else None


def _job_faults(results: Sequence[Result], environment: str, kind: str) -> float:
    counts = [sum(job[kind] for job in result.jobs.values()) for result in results if result.environment == environment]
    return float(np.mean(counts))


def _document(results: Sequence[Result], every: Sequence[Result], folder: Path) -> str:
    dates = sorted(path.stat().st_mtime for path in folder.glob("*.json"))
    day = str(np.datetime64(int(dates[-1]), "s"))[:10]
    parts = [
        "<!-- Written by `make bench-tiering`; what it means is in tiering.md. -->",
        f"Measured by `make bench-tiering`, {day}, on {machine()} (the host; what counts is the virtual node).\n",
        "Times are modelled seconds, the mean over runs ± the reach of its 95 % interval; one run has none.\n",
    ]
    for name, chosen in (
        ("All workflows together", [result for result in results if result.together]),
        ("Each workflow alone", [result for result in results if not result.together]),
    ):
        if chosen:
            parts += [f"### {name}\n", _times(chosen), _ratios(chosen)]
    together = [result for result in results if result.together]
    parts += ["### What the kernel counted, together\n", _kernel(together)]
    parts += ["### Faults of the programs, together\n", _program_faults(together)]
    parts += ["### DRAM as a share of what the programs use, together\n", _by_share(every)]
    return "\n".join(parts)


def _environments(results: Sequence[Result]) -> list[str]:
    order = ["ideal", "kernel", "kernel-defer", "damon", "tierwise", "constrained", "default", "uniform"]
    present = {result.environment for result in results}
    return [name for name in order if name in present]


def _table(what: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """In Markdown: a column for the rows' names, called `what`, and the others."""
    lines = [f"| {' | '.join((what, *columns))} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {' | '.join((name, *cells))} |" for name, cells in rows.items()]
    return "\n".join([*lines, ""])


def _times(results: Sequence[Result]) -> str:
    environments = _environments(results)
    rows = {
        workflow: [_cell(results, environment, workflow) for environment in environments]
        for workflow in (*DIRECTIVES, SYSTEM, SLOWEST)
    }
    rows["runs"] = [str(_runs(results, environment)) for environment in environments]
    return _table("workflow", environments, rows)


def _cell(results: Sequence[Result], environment: str, what: str) -> str:
    times = [result.times(model_machine()) for result in results if result.environment == environment]
    if what == SLOWEST:
        values = [max(each.values()) for each in times]
    else:
        values = [each[what] for each in times if what in each]
    return str(estimate(values)) if values else "–"


def _ratios(results: Sequence[Result]) -> str:
    rows = {}
    for ours, theirs in [(KERNEL, IDEAL), ("damon", KERNEL), *((OURS, peer) for peer in PEERS), (OURS, DEFERRED)]:
        found = pairs(results, ours, theirs)
        if found:
            turned = ", ".join(against_the_claim(found, model_machine())) or "none"
            rows[f"{ours} ÷ {theirs}"] = [str(estimate(means(found, model_machine()))), turned]
    return _table("geometric mean of", ["ratio", "the model's variants that turn it around"], rows)


def _program_faults(results: Sequence[Result]) -> str:
    """A run's minor and major faults while the programs work (figure 8.8)."""
    environments = _environments(results)
    rows = {
        kind: [f"{_job_faults(results, environment, f'{kind}_faults'):,.0f}" for environment in environments]
        for kind in ("minor", "major")
    }
    return _table("faults", environments, rows)


def _by_share(results: Sequence[Result]) -> str:
    """Geometric means over the workflows, times that of all in DRAM, by how much of their memory DRAM has room for
    (figures 8.5 to 8.7); the rest is on slower tiers."""
    together = [result for result in results if result.together]
    ideal = _mean_times([result for result in together if result.environment == IDEAL])
    environments = [name for name in _environments(together) if name not in (IDEAL, "constrained")]
    if not ideal:
        return "Nothing with all in DRAM to compare with.\n"
    rows = {}
    for share in sorted({result.dram for result in together}):
        cells = []
        for environment in environments:
            runs = [result for result in together if (result.environment, result.dram) == (environment, share)]
            times = _mean_times(runs)
            ratio = geometric_mean([times[name] / ideal[name] for name in ideal]) if times else 0.0
            cells.append(f"{ratio:.2f} ({len(runs)})" if times else "–")
        rows[f"{share:.0%}"] = cells
    return "Times that of all in DRAM; in brackets how many runs.\n\n" + _table("DRAM", environments, rows)


def _mean_times(results: Sequence[Result]) -> dict[str, float]:
    """Mean time of each workflow; empty without a run."""
    times = [result.times(model_machine()) for result in results]
    return {name: float(np.mean([each[name] for each in times])) for name in DIRECTIVES} if times else {}


def _kernel(results: Sequence[Result]) -> str:
    environments = _environments(results)
    names = sorted({name for result in results for name in result.kernel})
    rows = {
        name: [
            f"{np.mean([result.kernel[name] for result in results if result.environment == environment]):,.0f}"
            for environment in environments
        ]
        for name in names
    }
    return _table("counter", environments, rows)

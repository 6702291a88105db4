"""What a person sees: every picture at several widths, of messages as daemons send them."""

import io

import cli_values as values
import pytest
from rich.console import Console, RenderableType

from tierwise.messages import DryRunPlan, Event, Health, JobView, Mechanism
from tierwise_cli.show.doctor import doctor
from tierwise_cli.show.events import events
from tierwise_cli.show.health import health
from tierwise_cli.show.job import job
from tierwise_cli.show.jobs import jobs
from tierwise_cli.show.nodes import nodes
from tierwise_cli.show.plan import plans
from tierwise_cli.show.plot import Layer, Plot
from tierwise_cli.show.report import report
from tierwise_cli.show.shared import shared
from tierwise_cli.show.stage import stage
from tierwise_cli.show.status import status

ORDERS = {"n1": ("dram", "pmem", "cxl")}
MECHANISMS = {
    "Kernel": [Mechanism("weighted interleave", "used", "weights 20, 10 and 3")],
    "Slurm": [Mechanism("job_submit.lua", "missing", "/etc/slurm/job_submit.lua: No such file", "see the manual")],
}
PICTURES: dict[str, RenderableType] = {
    "status": status([*values.NODES, values.CROWD]),
    "nodes": nodes(values.NODES),
    "jobs": jobs([values.RUNNING, values.ENDED, values.SUBMITTED, values.HOSTILE]),
    "running": job(values.RUNNING, ORDERS),
    "ended": job(values.ENDED, ORDERS),
    "mended": job(values.MENDED, ORDERS),
    "events": events(
        {
            "n1": [Event(1, 1_790_000_000_000_000_000, "promoted", 4711, "cxl", "dram", 25600, "hot")],
            "n2": [Event(7, 1_790_000_000_000_000_000, "pressure\x1b[2J", why="tasks waited for memory")],
        }
    ),
    "report": report(values.MENDED, ORDERS),
    "report without agents": report(JobView(1, "", 0, "", "ended", {}, (), (), values.RUNS), {}),
    "submitted": job(values.SUBMITTED, ORDERS),
    "hostile": job(values.HOSTILE, {}),
    "plan": plans(
        [DryRunPlan("n1", values.CROWDED, ("CAP fills the slowest tier first",)), DryRunPlan("n2", None, ())]
    ),
    "doctor": doctor(MECHANISMS),
    "stage": stage(values.STAGED),
    "shared": shared({"n1": values.REGIONS}),
    "health": health(Health(False, "0.1.0", "sqlite", 3, 1, 1, ("the database is read-only",))),
}


def draw(picture: RenderableType, width: int, colour: bool = False) -> str:
    """The picture as text on a terminal of `width` columns."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=colour, color_system="256" if colour else None).print(picture)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", PICTURES)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert max(len(line) for line in draw(PICTURES[name], width).splitlines()) <= width


@pytest.mark.parametrize("name", ["status", "nodes", "jobs"])
@pytest.mark.parametrize("width", [80, 120])
def test_tables_do_not_wrap(name: str, width: int) -> None:
    assert len(draw(PICTURES[name], width).splitlines()) == len(draw(PICTURES[name], 129).splitlines())


def test_status_divides_each_tier_by_its_jobs() -> None:
    text = draw(status(values.NODES[:1]), 80)
    dram, pmem, cxl = (
        next(line for line in text.splitlines() if line.split()[0] == t) for t in ("dram", "pmem", "cxl")
    )
    assert "812 MiB of 2 GiB" in dram
    assert "40%" in dram
    assert "20 MiB of 1 GiB" in pmem
    largest, second, third = "█▓▒"
    assert largest not in dram
    assert dram.count(second) > 2 * dram.count(third) - 2
    assert cxl.count(largest) > 2 * cxl.count(third)
    assert "not as planned" in next(line for line in text.splitlines() if " 4712 " in line)
    assert "degraded" in next(line for line in text.splitlines() if " 4713 " in line)


def test_a_crowd_of_jobs_stays_readable() -> None:
    text = draw(status([values.CROWD]), 80)
    assert "34 more jobs" in text
    assert len(text.splitlines()) == 12


def test_a_wide_terminal_has_jobs_beside_the_bars() -> None:
    first = draw(status(values.NODES[:1]), 200).splitlines()[1]
    assert first.split()[0] == "dram"
    assert "4713" in first


def test_plan_stands_beside_what_was_found() -> None:
    text = draw(PICTURES["running"], 80)
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["dram"])
    assert row == ["dram", "64", "MiB", "64", "MiB", "140", "MiB", "+76", "MiB"]
    assert "60,416 asked, 60,000 landed, 400 refused, 16 bounced" in text
    assert "preferred many over dram" in text


def test_after_the_end_the_report_has_its_curve() -> None:
    text = draw(PICTURES["ended"], 80)
    row = next(line for line in text.splitlines() if line.split()[:1] == ["dram"])
    assert "300 MiB" in row
    assert "█" in row
    assert "▂" in row
    assert "3 min 5 s" in text
    assert "98% of the samples" in text
    assert "1.5 s without an agent" in text


def test_a_degraded_plan_says_why() -> None:
    text = draw(PICTURES["plan"], 80)
    assert "degraded" in text
    assert "148 MiB" in text
    assert "n2  no plan" in text


@pytest.mark.parametrize("colour", [False, True])
def test_the_text_of_others_can_not_command_the_terminal(colour: bool) -> None:
    text = draw(PICTURES["hostile"], 80, colour)
    assert "\x1b[2J" not in text
    assert "\r" not in text
    assert "gone" in text


def test_colours_only_where_there_is_a_terminal() -> None:
    assert "\x1b" not in draw(PICTURES["status"], 80)
    assert "\x1b" in draw(PICTURES["status"], 80, colour=True)


def test_nothing_yet_is_said() -> None:
    assert "No node has reported" in draw(status([]), 80)
    assert "No jobs" in draw(jobs([]), 80)
    assert "No node to plan for" in draw(plans([]), 80)


def test_each_run_of_a_mended_job_is_told() -> None:
    text = draw(job(values.MENDED, ORDERS), 160)
    assert "run 1" in text
    assert "out of memory after 30 s with 150 MiB: requeued with" in text
    assert "ended well after 3 min 5 s with 300 MiB" in text


def test_a_report_ends_with_a_line_for_the_script() -> None:
    lines = draw(report(values.MENDED, ORDERS), 160).splitlines()
    assert any("301 MiB of 300 MiB on a node" in line for line in lines)
    assert any("3 min 5 s of 1 h 0 min: 5%" in line for line in lines)
    assert any("4 min 19 s of 6 min 10 s with 2 CPUs: 70%" in line for line in lines)
    assert any("400 refused, 16 bounced" in line for line in lines)
    assert any("98% of the samples" in line for line in lines)
    assert lines[-1].strip() == "#SBATCH --mem=384M --time=5"


def test_a_reports_plot_is_as_high_as_the_job_was() -> None:
    plot = Plot((Layer("dram", [100, 50, 50]), Layer("cxl", [0, 50, 0])), top=100, span="9 s", height=4, width=6)
    rows = [row[11:] for row in draw(plot, 40).splitlines()]
    assert rows == ["██▓▓  ", "██▓▓  ", "██████", "██████", "0  9 s"]


def test_shared_regions() -> None:
    lines = draw(PICTURES["shared"], 200).splitlines()
    assert [word in lines[1] for word in ("n1", "matrix", "64 MiB", "cxl", "71, 72")] == [True] * 5
    assert "-, retained" in lines[2]
    assert "No regions of yours" in draw(shared({"n1": []}), 80)


def test_staged_copies() -> None:
    lines = draw(PICTURES["stage"], 200).splitlines()
    assert [word in lines[1] for word in ("n1", "cxl", "40 MiB", "copying, 25 %", "/data/new.sif")] == [True] * 5
    assert "pinned, job:7, 2 others" in lines[2]
    assert "\x1b" not in "".join(lines)
    assert "Nothing of yours" in draw(stage([]), 80)


def test_events_say_what_moved_where_and_why() -> None:
    text = draw(PICTURES["events"], 120)
    assert "job 4711" in text
    assert "100 MiB cxl → dram" in text
    assert "hot" in text
    assert "\x1b[2J" not in text

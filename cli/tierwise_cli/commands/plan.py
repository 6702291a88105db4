"""`tierctl plan --dry-run`: nodes, estimates from history, and containers of a training job."""

import sys
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from rich.console import Group

from tierwise.directive import parse_directive
from tierwise.errors import DirectiveError
from tierwise.messages import DryRunQuery, EstimateQuery
from tierwise.units import parse_size
from tierwise_cli import asking
from tierwise_cli.exits import DISAGREES
from tierwise_cli.settings import Settings, common_options, settings_of
from tierwise_cli.show.estimate import containers as containers_picture
from tierwise_cli.show.estimate import estimate as estimate_picture
from tierwise_cli.show.plan import plans as plans_picture
from tierwise_policy.containers import Training, count_containers, training_memory
from tierwise_policy.sizes import resolve

_LONGEST_SCRIPT = 16 * 1024
"""Bytes of a script that the hook tells of (docs/protocol.md, submit)."""
TRAINING = "parameters=25.6M,activations=11M,batch=32,input=3x224x224,items=50K"


def _directive(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """What may stand after --tier=, checked here as sbatch checks it."""
    try:
        return str(parse_directive(value))
    except DirectiveError as error:
        raise click.BadParameter(str(error)) from None


def _memory(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int:
    """Memory as sbatch takes it: a bare number is MiB."""
    if value is None:
        return 0
    try:
        return parse_size(f"{value}M" if value.isdigit() else value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _training(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Training | None:
    """`parameters=25.6M,activations=11M,batch=32,input=3x224x224,items=50K` as a training job."""
    if value is None:
        return None
    fields = dict(item.partition("=")[::2] for item in value.split(","))
    shape = fields.pop("input", "")
    try:
        numbers: dict[str, object] = {
            name: float(text) if name.endswith("cost") else _count(text) for name, text in fields.items()
        }
        return msgspec.convert(numbers | {"input_shape": [_count(text) for text in shape.split("x")]}, Training)
    except (ValueError, msgspec.ValidationError) as error:
        raise click.BadParameter(f"{error}; it looks like {TRAINING}") from None


def _count(text: str) -> int:
    """A count of things, with K, M or G for thousands, millions and billions."""
    scale = {"K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:].upper(), 1)
    number = round(float(text[:-1] if scale > 1 else text) * scale)
    if not 0 < number < 10**15:
        raise ValueError(f"{text} is no count")
    return number


@click.command()
@common_options
@click.option("--dry-run", is_flag=True, required=True, help="Say what would be; nothing is changed.")
@click.option("--tier", "directive", callback=_directive, default="auto", metavar="DIRECTIVE", help="As for sbatch.")
@click.option("--mem", "memory", callback=_memory, metavar="SIZE", help="Per node, as for sbatch.")
@click.option("--node", metavar="NAME", help="Only on this node.")
@click.option("--script", type=click.File("rb"), help="A batch script: what your history says that it needs.")
@click.option("--job-name", metavar="NAME", help="With --script; its file's name if not given, as for sbatch.")
@click.option("--partition", default="", metavar="NAME", help="With --script, as for sbatch.")
@click.option("--training", callback=_training, metavar="NUMBERS", help="A training job: how many containers of --mem.")
@click.pass_context
def plan(
    context: click.Context,
    dry_run: bool,
    directive: str,
    memory: int,
    node: str | None,
    script: BinaryIO | None,
    job_name: str | None,
    partition: str,
    training: Training | None,
) -> None:
    """What a job would get on each node, and why.

    \b
    DIRECTIVE is CLASS[:SIZE][,CLASS[:SIZE]...], auto or off:
      lat  latency-sensitive     bw   bandwidth-intensive
      cap  capacity              shl  short-lived
    Exits with 1 when no node could give it as asked.

    NUMBERS are counts, and where you pay for it what you would (cost) for a byte and second (unit_cost).

    \b
      tierctl plan --dry-run --tier=lat:2G,cap --mem=16G
      tierctl plan --dry-run --tier=bw:50%,cap --mem=8G --node n1
      tierctl plan --dry-run --script=job.sh --partition=batch
      tierctl plan --dry-run --mem=8G \\
        --training=parameters=25.6M,activations=11M,batch=32,input=3x224x224,items=50K
    """
    settings = settings_of(context)
    if training:
        return _containers(settings, training, memory)
    if memory:  # what is said explicitly is checked as the hook checks it
        resolve(parse_directive(directive), memory, explicit=True)
    with asking.service(settings) as service:
        estimate = service.estimate(_query(script, job_name, partition)) if script else None
        if estimate and directive == "auto":
            directive, memory = estimate.directive or directive, memory or estimate.memory
        answers = service.dry_run(DryRunQuery(directive, memory, node))
    if estimate:
        both = {"estimate": estimate, "nodes": answers}
        settings.show(both, lambda: Group(estimate_picture(estimate), plans_picture(answers)))
    else:
        settings.show(answers, lambda: plans_picture(answers))
    if not any(answer.plan is not None and not answer.plan.degraded for answer in answers):
        sys.exit(DISAGREES)


def _query(script: BinaryIO, job_name: str | None, partition: str) -> EstimateQuery:
    """The script as the hook would tell of it."""
    text = script.read(_LONGEST_SCRIPT).decode(errors="ignore")
    return EstimateQuery(script=text, job_name=job_name or Path(script.name).name, partition=partition)


def _containers(settings: Settings, training: Training, limit: int) -> None:
    if not limit:
        raise click.UsageError("--training needs --mem: what one container may have")
    most = max(training.items, 1)
    found = count_containers(lambda count: training_memory(training, count), limit, most)
    settings.show(found, lambda: containers_picture(training, found))
    if found.why_not:
        sys.exit(DISAGREES)

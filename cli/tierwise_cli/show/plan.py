"""`tierctl plan --dry-run`: what a job would get on each node, and why."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from tierwise.messages import DryRunPlan
from tierwise_cli.show import words


def plans(answers: Sequence[DryRunPlan]) -> RenderableType:
    """A block a node."""
    if not answers:
        return Text("No node to plan for: none has reported yet.")
    return Group(*(Padding(_node(answer), (0, 0, 1, 0)) for answer in answers))


def _node(answer: DryRunPlan) -> RenderableType:
    plan = answer.plan
    if plan is None:
        verdict = ("no plan", words.FAINT)
    else:
        verdict = ("degraded", words.WARN) if plan.degraded else ("as asked", words.GOOD)
    blocks: list[RenderableType] = [Text.assemble((words.safe(answer.node), words.HEAD), "  ", verdict)]
    if plan is not None:
        tiers = words.tier_order(plan.tiers)
        numbers = ("SIZE", *tiers, "NOWHERE", "PINNED")
        table = words.table("CLASS", *numbers, right=numbers)
        for part in plan.parts:
            sizes = (part.size, *(part.tiers.get(tier, 0) for tier in tiers), part.unplaced, part.pinned)
            table.add_row(Text(part.memory_class or "none"), *map(words.size, sizes))
        blocks.append(Padding(table, (0, 0, 0, 2)))
        first = f"tasks start with {plan.policy.mode.replace('_', ' ')} of {', '.join(plan.policy.tiers)}"
        blocks.append(Padding(Text(first if plan.policy.tiers else "tasks start with Slurm's policy"), (0, 0, 0, 2)))
    blocks += [Padding(Text(words.safe(reason), words.FAINT), (0, 0, 0, 2)) for reason in answer.reasons]
    return Group(*blocks)

"""`tierctl plan --dry-run`: what a job would get on each node, and why."""

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from tierwise.messages import DryRunPlan
from tierwise_cli.show import words


def plans(answers: Sequence[DryRunPlan]) -> RenderableType:
    """A block for all nodes that would give the same."""
    if not answers:
        return Text("No node to plan for: none has reported yet.")
    alike: dict[bytes, list[DryRunPlan]] = {}
    for answer in answers:
        alike.setdefault(msgspec.json.encode((answer.plan, answer.reasons)), []).append(answer)
    return Group(*(Padding(_nodes(group), (0, 0, 1, 0)) for group in alike.values()))


def _nodes(group: Sequence[DryRunPlan]) -> RenderableType:
    answer = group[0]
    plan = answer.plan
    if plan is None:
        verdict = ("no plan", words.FAINT)
    else:
        verdict = ("degraded", words.WARN) if plan.degraded else ("as asked", words.GOOD)
    blocks: list[RenderableType] = [
        Text.assemble((words.safe(", ".join(each.node for each in group)), words.HEAD), "  ", verdict)
    ]
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

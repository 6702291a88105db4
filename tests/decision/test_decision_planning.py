"""What a submission's GRES always are, whatever the node: properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tierwise.directive import CLASSES, ClassRequest, Request
from tierwise.tiers import Tier
from tierwise.units import MIB, mib_ceil
from tierwise_decision.known import Shape
from tierwise_decision.planning import outlook

CAPACITIES = st.integers(0, 4096 * MIB)


@st.composite
def shapes(draw: st.DrawFn) -> list[Shape]:
    made = []
    for _ in range(draw(st.integers(1, 3))):
        names = ("dram", "pmem", "cxl")[: draw(st.integers(1, 3))]
        tiers = tuple(
            Tier(name, rank, (rank,), draw(CAPACITIES), 0, 100 * rank, draw(st.integers(0, 10**12)))
            for rank, name in enumerate(names)
        )
        made.append(Shape(tiers))
    return made


@st.composite
def requests(draw: st.DrawFn) -> Request:
    names = draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=4, unique=True))
    sizes = [ClassRequest(name, size=draw(st.integers(1, 2048 * MIB))) for name in names]
    if draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = ClassRequest(draw(st.sampled_from(names)))
    unique = {part.memory_class: part for part in sizes}
    return Request("classes", tuple(unique.values()))


@given(shapes(), requests(), st.integers(0, 8192 * MIB), st.booleans())
def test_gres_add_up_and_fit_some_shape(known: list[Shape], request: Request, memory: int, whole_node: bool) -> None:
    found = outlook(request, memory, explicit=False, whole_node=whole_node, shapes=known, pin_share=0.5)
    assert found == outlook(request, memory, explicit=False, whole_node=whole_node, shapes=known[::-1], pin_share=0.5)
    counts = {name.removeprefix("tier_"): int(count) for name, count in _items(found.gres)}
    assert all(counts.values())
    room = [{tier.name: tier.capacity // MIB for tier in shape.tiers} for shape in known]
    fitting = [one for one in room if all(counts[tier] <= one.get(tier, 0) for tier in counts)]
    assert fitting
    if memory:
        assert sum(counts.values()) <= mib_ceil(memory)
        if any(sum(one.values()) >= mib_ceil(memory) for one in room):
            assert sum(counts.values()) == mib_ceil(memory)


def _items(gres: str) -> list[tuple[str, str]]:
    return [(name, count) for name, _, count in (item.partition(":") for item in gres.split(",") if item)]

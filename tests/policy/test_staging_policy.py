"""Which copies go: enough of them, none in vain, and the least wanted first."""

from hypothesis import given
from hypothesis import strategies as st

from tierwise.plans import Part, Plan
from tierwise_policy.staging import Kept, evicted, preferred, worth

KEPT = st.lists(
    st.builds(Kept, st.uuids().map(str), st.integers(1, 1 << 40), st.integers(0, 1000), st.floats(0, 1e7)), max_size=12
)


@given(KEPT, st.integers(-10, 1 << 42))
def test_enough_goes_and_nothing_in_vain(kept: list[Kept], need: int) -> None:
    sizes = {copy.name: copy.size for copy in kept}
    gone = evicted(kept, need)
    if gone is None:
        assert sum(sizes.values()) < need
        return
    freed = sum(sizes[name] for name in gone)
    assert freed >= need
    assert all(freed - sizes[name] < need for name in gone)
    assert len(set(gone)) == len(gone)


@given(KEPT, st.integers(1, 1 << 42))
def test_what_stays_is_worth_more_or_would_not_have_done(kept: list[Kept], need: int) -> None:
    gone = evicted(kept, need) or ()
    least = [copy for copy in kept if copy.name not in gone]
    for copy in kept:
        if copy.name in gone:
            cheaper = [other for other in least if worth(other) < worth(copy)]
            assert sum(other.size for other in cheaper) < need


def test_use_counts_and_time_takes_it_away() -> None:
    often, seldom, long_ago = Kept("often", 10, 50, 60.0), Kept("seldom", 10, 2, 60.0), Kept("long ago", 10, 50, 1e5)
    assert evicted([often, seldom, long_ago], 10) == ("long ago",)
    assert evicted([often, seldom], 10) == ("seldom",)
    assert evicted([often], 11) is None
    assert evicted([often], 0) == ()


def test_a_copy_lies_where_the_jobs_plan_has_its_capacity() -> None:
    order = ("dram", "pmem", "cxl")
    fast, large = Part("LAT", 60, {"dram": 50, "pmem": 10}), Part("CAP", 30, {"pmem": 20, "cxl": 10})
    assert preferred(order, None) == ("cxl", "pmem", "dram")
    assert preferred(order, Plan()) == ("cxl", "pmem", "dram")
    assert preferred(order, Plan((fast,))) == ("dram", "pmem", "cxl")
    assert preferred(order, Plan((fast, large))) == ("pmem", "cxl", "dram")
    assert preferred(order, Plan((Part("CAP", 20, {"pmem": 10, "cxl": 10}),))) == ("cxl", "pmem", "dram")
    assert preferred(("dram",), Plan((fast,))) == ("dram",)

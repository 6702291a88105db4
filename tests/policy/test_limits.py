"""What becomes of a job's limits: only with its user's word, and only as far as the admin lets it."""

import pytest

from tierwise.units import GIB, MIB
from tierwise_policy.sizing import Asked, Estimate, Policy, limits_for

NEEDED = 2142 * MIB  # 3 % and 32 MiB more than the peak
ESTIMATE = Estimate(2 * GIB, NEEDED, 1790.0, 17, "exact", "17 runs of this script, the largest, +2 %", "17 runs, +8 %")


def asked(**changes: object) -> Asked:
    values = {"memory": 4 * GIB, "memory_given": True, "seconds": 3600, "seconds_given": True, "auto": True}
    return Asked(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["advise", "fill", "enforce"])
def test_who_did_not_say_auto_is_never_changed(policy: Policy) -> None:
    found = limits_for(ESTIMATE, asked(auto=False, memory_given=False, seconds_given=False), policy)
    assert (found.memory, found.seconds, found.notices) == (0, 0, ())


@pytest.mark.parametrize(
    ("policy", "given", "memory", "seconds"),
    [
        ("advise", False, 0, 0),
        ("advise", True, 0, 0),
        ("fill", True, 0, 0),
        ("fill", False, NEEDED, 1800),
        ("enforce", True, NEEDED, 1800),
        ("enforce", False, NEEDED, 1800),
    ],
)
def test_as_far_as_the_admin_lets(policy: Policy, given: bool, memory: int, seconds: int) -> None:
    found = limits_for(ESTIMATE, asked(memory_given=given, seconds_given=given), policy)
    assert (found.memory, found.seconds) == (memory, seconds)


def test_auto_is_told_what_it_has_and_on_what_that_rests() -> None:
    told = limits_for(ESTIMATE, asked(), "enforce").notices
    assert told[0] == "it has 2.1 GiB of memory on each node: 17 runs of this script, the largest, +2 %"
    assert told[1] == "it has 0:30:00: 17 runs, +8 %"
    assert limits_for(ESTIMATE, asked(), "advise").notices[0].startswith("it would need 2.1 GiB")


def test_far_too_much_is_told_with_what_would_do() -> None:
    (told,) = limits_for(ESTIMATE, asked(auto=False, memory=64 * GIB), "advise").notices
    assert "asks for 64 GiB" in told
    assert "--mem=2176M would do" in told
    (told,) = limits_for(ESTIMATE, asked(auto=False, seconds=86400), "advise").notices
    assert "--time=0:30:00" in told


@pytest.mark.parametrize(
    "one",
    [
        ESTIMATE,
        Estimate(16 * MIB, 49 * MIB, 60.0, 17, "exact", "", ""),  # a gigabyte too much is not worth a word
        Estimate(2 * GIB, NEEDED, 1790.0, 2, "exact", "", ""),  # two runs have shown nothing yet
        Estimate(0, 0, 0.0, 17, "exact", "", ""),
    ],
)
def test_what_is_not_far_too_much_is_not_told(one: Estimate) -> None:
    memory = 64 * GIB if one.runs == 2 else GIB
    assert limits_for(one, asked(auto=False, memory=memory), "enforce").notices == ()

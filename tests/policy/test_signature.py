"""What counts as the same kind of job."""

import pytest

from tierwise_policy.signature import normalise, signature

SCRIPT = "#!/bin/sh\n#SBATCH --mem=4G\nsalmon quant -i index -o out_17 --threads 4\n"


@pytest.mark.parametrize(
    "other",
    [
        SCRIPT.replace("out_17", "out_18"),
        SCRIPT.replace("--mem=4G", "--mem=8G --time=10"),
        SCRIPT.replace(" -o", "  -o"),
    ],
)
def test_what_changes_between_two_runs_does_not_count(other: str) -> None:
    assert signature(1, script=other, job_name="q_1") == signature(1, script=SCRIPT, job_name="q_2")


@pytest.mark.parametrize(
    "change",
    [{"partition": "big"}, {"array": True}, {"image": "b.sif"}, {"job_name": "other"}, {"script": "sleep"}],
)
def test_what_makes_another_kind(change: dict[str, object]) -> None:
    base = {"script": SCRIPT, "job_name": "quant", "partition": "all", "image": "a.sif"}
    assert signature(1, **base).exact != signature(1, **{**base, **change}).exact  # type: ignore[arg-type]


def test_the_nearest_match_looks_past_name_partition_and_array() -> None:
    one = signature(1, script=SCRIPT, job_name="a", partition="p")
    two = signature(1, script=SCRIPT, job_name="b", partition="q", array=True)
    assert one.exact != two.exact
    assert one.script == two.script
    assert one.name != two.name


def test_another_users_jobs_never_match() -> None:
    ours, theirs = (signature(uid, script=SCRIPT, job_name="a") for uid in (1, 2))
    assert not {key for key, _ in ours.keys} & {key for key, _ in theirs.keys}


def test_a_name_that_slurm_gave_makes_nothing_alike() -> None:
    assert not signature(1, script=SCRIPT, job_name="sbatch").name


def test_nothing_to_compare_is_no_key() -> None:
    assert signature(1).keys == ((signature(1).exact, "exact"),)


def test_a_work_directory_is_looked_past_and_a_word_is_not() -> None:
    assert normalise("cd work/84/6c7dd3839079ec7cc5e5") == normalise("cd work/12/0123abcdef01")
    assert normalise("cat deadbeef") != normalise("cat accede")


def test_a_script_may_hold_any_bytes() -> None:
    assert signature(1, script=b"\xff\xfe".decode(errors="surrogateescape"))

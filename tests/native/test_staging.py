"""Staging and scratch on a real Slurm: from the options of sbatch to what a job finds, and what it leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from asking import PATIENCE_S

from tierwise.local import ask
from tierwise_lab import accounts
from tierwise_lab.commands import ALICE
from tierwise_lab.daemons import wait_until
from tierwise_lab.stack import Stack

SCRIPT = """#!/bin/sh
readlink "$TIERWISE_STAGE/input"
srun --export=NONE /bin/cat $TIERWISE_STAGE/input
srun sh -c 'echo kept > $TIERWISE_SCRATCH/file'
cat $TIERWISE_SCRATCH/file
stat -c '%a %U' $TIERWISE_SCRATCH
df --output=fstype,size -B1 $TIERWISE_SCRATCH | tail -n1
echo scratch=$TIERWISE_SCRATCH
"""


@pytest.fixture
def source(stack: Stack) -> Path:
    """A file of alice's with content of its own."""
    path = stack.layout.home(ALICE) / "input"
    path.write_text(f"content {os.urandom(8).hex()}\n")
    path.chmod(0o600)
    os.chown(path, *accounts.ids(ALICE))
    return path


def copies(stack: Stack, node: str) -> list[dict[str, object]]:
    answer = ask(str(stack.layout.agent_socket(node)), {"op": "stage_list"}, PATIENCE_S)
    found: list[dict[str, object]] = json.loads(answer["json"])
    return found


def test_a_job_with_staged_input_and_scratch(stack: Stack, source: Path) -> None:
    options = (f"--tier-stage={source},{source}.missing", "--tier-stage-wait=60", "--tier-scratch=8M", "--mem=200M")
    job = stack.sbatch(SCRIPT, *options)
    record = stack.wait(job)
    output = stack.output(job)
    assert record["JobState"] == "COMPLETED", output
    assert record["MinMemoryNode"] == "208M"  # with its scratch
    lines = [line for line in output.splitlines() if "slurmstepd" not in line]
    assert lines[0].startswith(f"{stack.layout.run}/stage-{record['BatchHost']}/"), output
    assert lines[1] == source.read_text().strip()
    assert lines[2:4] == ["kept", f"700 {ALICE}"]
    assert lines[4].split() == ["tmpfs", str(8 << 20)]
    assert f"{source}.missing can't be staged: No such file" in output
    scratch = Path(lines[5].removeprefix("scratch="))
    wait_until(lambda: not scratch.exists(), "the scratch to be gone with its job", 60)
    (copy,) = [row for row in copies(stack, record["BatchHost"]) if row["source"] == str(source)]
    wait_until(lambda: copies(stack, record["BatchHost"])[0]["held"] == 0, "the job to let go of its copy", 60)
    assert copy["public"] is False
    assert stack.run(["cat", str(copy["path"])]).stdout == source.read_text()


def test_a_job_killed_with_9_leaves_neither_scratch_nor_holder(stack: Stack, source: Path) -> None:
    script = "#!/bin/sh\necho $TIERWISE_SCRATCH $TIERWISE_STAGE; kill -9 $$\n"
    job = stack.sbatch(script, f"--tier-stage={source}", "--tier-stage-wait=60", "--tier-scratch=8M", "--mem=100M")
    record = stack.wait(job)
    assert record["JobState"] == "FAILED"
    scratch, links = map(Path, stack.output(job).split()[:2])
    wait_until(lambda: not scratch.exists() and not links.exists(), "its folders to be gone with it", 60)
    wait_until(lambda: {row["held"] for row in copies(stack, record["BatchHost"])} == {0}, "its copy to be let go", 60)


def test_options_in_the_script(stack: Stack, source: Path) -> None:
    script = f"#!/bin/sh\n#SBATCH --tier=cap\n#SBATCH --tier-stage={source}\ncat $TIERWISE_STAGE/input\n"
    job = stack.sbatch(script, "--mem=100M")
    assert stack.wait(job)["JobState"] == "COMPLETED", stack.output(job)
    assert source.read_text() in stack.output(job)

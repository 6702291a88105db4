"""--tier-env on a real Slurm: each task knows the others."""

from __future__ import annotations

import json

from tierwise_lab.stack import Stack


def test_tasks_know_each_other(stack: Stack) -> None:
    show = 'echo "$SLURM_PROCID $MASTER_ADDR $WORLD_SIZE $RANK"; echo "$TF_CONFIG"'
    names = [node.name for node in stack.nodes[:2]]
    options = ["-N2", "-n2", f"--nodelist={','.join(names)}", "--mem=50"]
    torch = stack.run(["srun", *options, "--tier-env=torch", "sh", "-c", show])
    assert sorted(line for line in torch.stdout.splitlines() if line) == [
        f"{rank} {names[0]} 2 {rank}" for rank in range(2)
    ], torch.stderr
    tensorflow = stack.run(["srun", *options, "--tier-env=tf", "sh", "-c", 'echo "$TF_CONFIG"'])
    found = [json.loads(line) for line in tensorflow.stdout.splitlines()]
    assert sorted(one["task"]["index"] for one in found) == [0, 1], tensorflow.stderr
    assert {one["cluster"]["worker"][1].split(":")[0] for one in found} == {names[1]}

    batch = stack.sbatch(f"#!/bin/sh\n{show}\n", "--tier-env=torch", "--mem=50")
    stack.wait(batch, "COMPLETED")
    assert stack.output(batch).split()[2] == "1"

    plain = stack.run(["srun", *options, "sh", "-c", show])
    assert "MASTER" not in plain.stdout
    assert sorted(plain.stdout.split()) == ["0", "1"], "who did not ask has none of it"

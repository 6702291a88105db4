"""Records what a real slurmctld shows a job_submit hook: `python tests/hook/record.py RELEASE [ROOT]`.

Writes fixtures/job_desc-RELEASE.lua, one entry per submission of SUBMISSIONS. ROOT is a directory tree with another
release of Slurm than this machine's (`tierwise_lab.image.chroot_root`). Run it again when a submission is added.
"""

import sys
from pathlib import Path

from tierwise_lab.daemons import wait_until
from tierwise_lab.options import StackOptions
from tierwise_lab.stack import Stack

HERE = Path(__file__).parent
PARTITIONS = ("PartitionName=percpu Nodes=ALL DefMemPerCPU=100", "PartitionName=bare Nodes=ALL")
SUBMISSIONS = {
    "plain": "",
    "tier": "--tier=lat:64M,cap --mem=300",
    "mem": "--mem=300",
    "mem-zero": "--mem=0",
    "mem-large": "--mem=3T",
    "mem-per-cpu": "--mem-per-cpu=100 -n4 -c2 -N2",
    "mem-per-cpu-zero": "--mem-per-cpu=0",
    "tasks-per-node": "--mem-per-cpu=100 -N2 --ntasks-per-node=3 -c2",
    "open-nodes": "--mem-per-cpu=100 -n6",
    "mincpus": "--mem-per-cpu=100 --mincpus=2",
    "exclusive": "--exclusive",
    "exclusive-per-cpu": "--exclusive --mem-per-cpu=100",
    "exclusive-user": "--exclusive=user --mem-per-cpu=100",
    "range": "-N2-3 --mem=100",
    "gres": "--gres=tier_dram:10",
    "gres-none": "--gres=none",
    "gpus": "--gpus=1",
    "gpus-per-task": "--gpus-per-task=1 -n1",
    "mem-per-gpu": "--gpus=1 --mem-per-gpu=100",
    "cpus": "-c2 --mem=100",
    "constraint": "--constraint=fast --mem=100",
    "prefer": "--prefer=fast --mem=100",
    "nodelist": "-w @NODE@ --mem=100",
    "exclude": "-x @NODE@ --mem=100",
    "comment": "--mem=100 --comment=own",
    "partition": "-p percpu",
    "partition-bare": "-p bare",
    "partitions": "-p percpu,main --mem=100",
    "array": "--array=1-3 --mem=100",
}
INTERACTIVE = {"srun": ["srun", "--mem=100", "--tier=cap"], "salloc": ["salloc", "--mem=100", "--tier=cap"]}


def record(release: str, root: Path | None) -> None:
    options = StackOptions(service=False, agents=False, slurm_root=root, extra_slurm_conf=PARTITIONS)
    with Stack(options) as stack:
        output = stack.layout.state / "recorded.lua"
        recorder = (HERE / "recorder.lua").read_text().replace("@OUTPUT@", str(output))
        stack.stop("slurmctld")
        stack.layout.job_submit.write_text(recorder)
        conf = stack.layout.slurm_conf.read_text().replace("GresTypes=", "GresTypes=gpu,")
        stack.layout.slurm_conf.write_text(conf)
        stack.start("slurmctld")
        node = stack.nodes[0].name
        for name, arguments in SUBMISSIONS.items():
            argv = ["sbatch", "-J", name, *arguments.replace("@NODE@", node).split()]
            print(name, stack.run(argv, stdin="#!/bin/sh\n:\n").stderr.strip())
        stack.run(["sbatch", "-J", "het", "--mem=100", ":", "--mem=50"], stdin="#!/bin/sh\n:\n")
        for name, argv in INTERACTIVE.items():
            stack.run([argv[0], "-J", name, *argv[1:], "/bin/true"])
        wait_until(lambda: "salloc" in output.read_text(), "the last submission", 10)
        target = HERE / "fixtures" / f"job_desc-{release}.lua"
        entries = output.read_text()
        target.write_text(
            f"-- Slurm {release}: made by record.py\nreturn {{\n   conf = [==[\n{conf}]==],\n{entries}}}\n"
        )
        print(target, entries.count("spank_job_env"), "submissions")


if __name__ == "__main__":
    record(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)

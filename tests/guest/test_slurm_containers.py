"""Containers, staged input and scratch on a node with three memory tiers, with real Apptainer and real Slurm.

The examples of docs/containers.md run here, as they stand there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from handmade import NOBODY, AgentProcess, until

from tierwise.local import ask
from tierwise_lab.options import REPOSITORY
from tierwise_lab.stack import Stack

MIB = 1 << 20
DRAM, CXL = 0, 2
DATA = Path("/data")
PATIENCE = 240
WHERE = """
import mmap, re, sys
with open(sys.argv[1], "rb") as file:
    held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    sum(held[at] for at in range(0, len(held), 4096))
    for area in open("/proc/self/numa_maps"):
        if f"file={sys.argv[1]}" in area:
            print(*re.findall(r"N(\\d+)=(\\d+)", area)[0], len(re.findall(r"N\\d+=", area)))
"""


@pytest.fixture(scope="module", autouse=True)
def image(stack: Stack) -> Path:
    """A SIF image that says hello, a table and a folder: what the manual's examples name."""
    root = DATA / "root"
    for folder in ("bin", "dev", "etc", "proc", "sys", "tmp", "home", "run"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    busybox = subprocess.check_output(["sh", "-c", "command -v busybox"], text=True).strip()
    (root / "bin/busybox").write_bytes(Path(busybox).read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for name in ("sh", "cat", "grep", "head", "ls", "true", "mount"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "bin/hello").write_text("#!/bin/sh\necho hello from inside\n")
    (root / "bin/hello").chmod(0o755)
    (root / ".singularity.d").mkdir(exist_ok=True)
    (root / ".singularity.d/runscript").write_text("#!/bin/sh\nexec /bin/hello\n")
    (root / ".singularity.d/runscript").chmod(0o755)
    subprocess.run(["mksquashfs", root, DATA / "image.sqfs", "-quiet"], check=True, capture_output=True)
    path = DATA / "image.sif"
    build = ["apptainer", "-q", "build", "--mksquashfs-args", "-comp gzip -Xcompression-level 1", str(path), str(root)]
    subprocess.run(build, check=True, capture_output=True)
    (DATA / "table.csv").write_bytes(b"1,2,3\n" * 2_000_000)
    (DATA / "model").write_bytes(b"w" * MIB)
    (DATA / "reference").mkdir()
    (DATA / "reference/part").write_bytes(b"acgt" * 1000)
    subprocess.run(["chmod", "-R", "a+rX", str(DATA)], check=True)
    Path("/dev/fuse").chmod(0o666)  # as udev does, which this node has not
    return path


def examples() -> list[str]:
    """The shell blocks of the page, in its order."""
    text = (REPOSITORY / "docs" / "containers.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def copies(stack: Stack) -> dict[str, dict[str, object]]:
    """All staged copies, by source."""
    (node,) = stack.nodes
    rows = json.loads(ask(str(stack.layout.agent_socket(node.name)), {"op": "stage_list"}, 20)["json"])
    return {row["source"]: row for row in rows}


def held_by_jobs(stack: Stack) -> bool:
    """Whether a job holds a copy: `sbatch --wait` returns before its epilog has."""
    return "job:" in str([row["holders"] for row in copies(stack).values()])


def test_the_manuals_examples(stack: Stack) -> None:
    socket = stack.layout.agent_socket(stack.nodes[0].name)  # a site's own default is found without it
    said = []
    for example in examples():
        until(lambda: not held_by_jobs(stack), "the last example's job to have left the node", PATIENCE)
        done = stack.run(["bash", "-ec", f"cd; export TIERWISE_SOCKET={socket} COLUMNS=120\n{example}"], timeout=300)
        told = stack.run(["bash", "-c", "cd; cat job.out"]).stdout
        assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}{told}"
        said.append(done.stdout + done.stderr)
    assert len(said) == 5
    assert "hello from inside" in said[0]
    assert "the plain command runs" not in said[0]
    assert "hello from inside" in said[1]
    assert f"{12 * MIB // MIB}000000" in said[2]
    assert "part" in said[2]
    assert "words\n" in said[3]
    assert "64M" in said[3]
    assert "pinned" in said[4]
    rows = copies(stack)
    assert rows["/data/image.sif"]["tier"] == "cxl"
    assert int(str(rows["/data/image.sif"]["hits"])) >= 1
    assert "/data/reference" in rows


def test_copies_lie_where_jobs_are_planned_and_containers_read_them(stack: Stack) -> None:
    """A job with nothing but fast memory, and one with slow memory, whose container (squashfs) has its scratch and its
    memory policy, too."""
    lat = stack.sbatch(
        f"#!/bin/sh\npython3 -IS -c '{WHERE}' $(readlink -f $TIERWISE_STAGE/model)\n",
        *("--mem=100M", "--tier=lat", "--tier-stage=/data/model", "--tier-stage-wait=60"),
    )
    assert stack.wait(lat, timeout=300)["JobState"] == "COMPLETED", stack.output(lat)
    assert stack.output(lat) == f"{DRAM} {MIB // 4096} 1\n"
    inside = 'head -n1 /data/table.csv; ls $TIERWISE_STAGE/; mount | grep -c " /data/table.csv "; ls $TIERWISE_SCRATCH'
    inside += "; head -n1 /proc/self/numa_maps; echo $APPTAINER_NAME"
    script = f"""#!/bin/sh
WHERE='{WHERE}'
dd if=/dev/zero of=$TIERWISE_SCRATCH/file bs=1M count=8 2>/dev/null
for file in $TIERWISE_SCRATCH/file $(readlink -f $TIERWISE_STAGE/table.csv); do python3 -IS -c "$WHERE" $file; done
tierwise-exec --silent exec -B /data /data/image.sqfs sh -c '{inside}'
"""
    options = ("--mem=300M", "--tier=cap", "--tier-stage=/data/table.csv", "--tier-stage-wait=60", "--tier-scratch=16M")
    job = stack.sbatch(script, *options)
    assert stack.wait(job, timeout=300)["JobState"] == "COMPLETED", stack.output(job)
    said = [line for line in stack.output(job).splitlines() if not line.startswith("tierwise-exec: staging ")]
    table = -(-(DATA / "table.csv").stat().st_size // 4096)
    assert said[:6] == [f"{CXL} {8 * MIB // 4096} 1", f"{CXL} {table} 1", "1,2,3", "table.csv", "1", "file"]
    assert re.search(rf" prefer[^:]*:{CXL} ", said[6]), said[6]
    assert said[7:] == ["data"]  # a container bears the name of the copy


def test_a_folder_is_an_image_too(stack: Stack) -> None:
    socket = stack.layout.agent_socket(stack.nodes[0].name)
    done = stack.run(
        ["tierwise-exec", "apptainer", "run", "/data/root"], env={"TIERWISE_SOCKET": str(socket)}, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "hello from inside\n"), done.stderr
    assert "/data/root" in copies(stack)


APART = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", 'mount -t tmpfs hidden /data; exec "$@"', "sh")


def test_an_agent_in_a_mount_namespace_of_its_own(image: Path) -> None:
    """As its unit starts it: it doesn't see what users see, and what it mounts they have to."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)  # as systemd does
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        agent = AgentProcess(folder, "apart", {}, APART)
        agent.start()
        assert list(Path(f"/proc/{agent.pid}/root/data").iterdir()) == []
        socket = str(agent.socket)
        copy = Path(ask(socket, {"op": "stage", "path": str(image), "wait": 60, "hold": 0}, PATIENCE)["path"])
        assert copy.read_bytes() == image.read_bytes()
        scratch = Path(
            ask(socket, {"op": "stage_job", "job_id": 1, "uid": NOBODY, "scratch": MIB}, PATIENCE)["scratch"]
        )
        assert scratch.is_mount()
        ask(socket, {"op": "epilog", "job_id": 1, "uid": NOBODY}, PATIENCE)
        assert not scratch.exists()
        agent.close()
        assert name not in Path("/proc/self/mountinfo").read_text()


def test_which_options_have_a_value_is_as_apptainer_says(image: Path, tmp_path: Path) -> None:
    """Its help shows a value's type behind such an option: `-B, --bind strings   …`. tierwise-exec speaks of the agent
    where it has found the image, and not where it takes it for an option's value."""
    (tmp_path / "apptainer").symlink_to("/bin/true")
    path = f"{tmp_path}:{os.environ['PATH']}"
    loop = """verb=$1; shift
    for option; do
        said=$(tierwise-exec apptainer $verb $option /data/image.sif 2>&1 >/dev/null)
        [ -n "$said" ] || echo $option
    done"""
    known: dict[str, bool] = {}  # from an earlier verb: each start takes its time here
    for verb in ("exec", "run", "shell"):
        text = subprocess.check_output(["apptainer", verb, "--help"], text=True)
        options = re.findall(r"^ +(?:(-\w), )?(--[\w-]+)(?: (\w+))?  ", text, re.MULTILINE)
        assert len(options) > 40
        valued = {name: bool(kind) for short, long, kind in options for name in (short, long) if name}
        new = {name: has for name, has in valued.items() if name not in ("-w", "--writable") and known.get(name) != has}
        environment = os.environ | {"PATH": path, "TIERWISE_SOCKET": "/nowhere.sock"}
        taken = subprocess.check_output(["sh", "-c", loop, "sh", verb, *new], text=True, env=environment).split()
        assert set(taken) == {name for name, has in new.items() if has}
        known |= valued

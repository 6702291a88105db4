"""Job cgroups: trees as Slurm makes them, recorded, and real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from handmade import NOBODY, JobCgroups, until

from tierwise.units import MIB
from tierwise_node.cgroups import Cgroups, Usage

V2_NUMA = "anon N0=104857600 N1=0 N2=8192\nfile N0=1 N1=0 N2=0\nshmem N0=4096 N1=0 N2=0\nfile_thp N0=9 N1=9 N2=9\n"
V1_NUMA = (
    "total=5 N0=5\nanon=2 N0=2\nhierarchical_total=30 N0=30\nhierarchical_file=8 N0=8\n"
    "hierarchical_anon=20 N0=20\nhierarchical_unevictable=2 N0=2\n"
)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """A node n1 with job 7 under cgroup v2."""
    write(tmp_path, cgroup__controllers="memory\n")
    job = tmp_path / "system.slice/n1_slurmstepd.scope/job_7"
    write(
        job, memory__numa_stat=V2_NUMA, memory__max="209715200\n", memory__current="105000000\n",
        memory__peak="110000000\n", memory__events="low 0\noom 1\noom_kill 2\n", cgroup__procs="",
        memory__stat="anon 104865792\npgfault 26000\npgmajfault 10\n", cgroup__events="populated 1\nfrozen 0\n",
        cpu__stat="usage_usec 2500000\nuser_usec 2000000\n",
    )  # fmt: skip
    write(job / "step_batch/user/task_0", cgroup__procs="11\n12\n", cgroup__events="populated 1\nfrozen 0\n")
    write(job / "step_batch/slurm", cgroup__procs="10\n")
    return tmp_path


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    """A node n1 with job 7 of uid 1000 under cgroup v1."""
    freezer, memory = (tmp_path / controller / "slurm_n1/uid_1000/job_7" for controller in ("freezer", "memory"))
    write(freezer, cgroup__procs="", freezer__state="THAWED\n")
    write(freezer / "step_0", cgroup__procs="11\n", freezer__state="THAWED\n")
    write(
        memory, memory__numa_stat=V1_NUMA, memory__limit_in_bytes=f"{200 * MIB}\n", memory__usage_in_bytes="9\n",
        memory__max_usage_in_bytes="99\n", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        memory__stat="pgfault 1\ntotal_pgfault 30\ntotal_pgmajfault 4\n",
    )  # fmt: skip
    write(tmp_path / "cpuacct/slurm_n1/uid_1000/job_7", cpuacct__usage="1500000000\n")
    return tmp_path


def test_v2(v2: Path) -> None:
    (job,) = Cgroups("n1", mount=v2).jobs().values()
    assert job.job_id == 7
    assert sorted(job.pids()) == [10, 11, 12]
    assert job.usage() == Usage(
        nodes={0: 104857600 + 4096, 1: 0, 2: 8192},
        used=105000000,
        limit=209715200,
        peak=110000000,
        minor_faults=25990,
        major_faults=10,
        oom_kills=2,
        cpu_seconds=2.5,
    )


def test_v1(v1: Path) -> None:
    (job,) = Cgroups("n1", mount=v1).jobs().values()
    assert job.pids() == [11]
    assert job.usage() == Usage(
        nodes={0: 22 * 4096}, used=9, limit=200 * MIB, peak=99, minor_faults=26, major_faults=4, oom_kills=3,
        cpu_seconds=1.5,
    )  # fmt: skip


def test_no_limit(v1: Path) -> None:
    (v1 / "memory/slurm_n1/uid_1000/job_7/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert Cgroups("n1", mount=v1).jobs()[7].limit() is None


def test_a_frozen_step_means_suspended(v2: Path) -> None:
    job = v2 / "system.slice/n1_slurmstepd.scope/job_7"
    (job / "step_batch/user/task_0/cgroup.events").write_text("populated 1\nfrozen 1\n")
    usage = Cgroups("n1", mount=v2).jobs()[7].usage()
    assert usage is not None
    assert usage.suspended


def test_another_nodes_jobs_are_not_ours(v2: Path) -> None:
    assert Cgroups("n2", mount=v2).jobs() == {}


def test_a_slurmd_without_a_node_name_in_its_scope(tmp_path: Path) -> None:
    write(tmp_path, cgroup__controllers="memory\n")
    write(tmp_path / "system.slice/slurmstepd.scope/job_8")
    assert list(Cgroups("n1", mount=tmp_path).jobs()) == [8]


def test_a_configured_place(v1: Path) -> None:
    configured = Cgroups("other", str(v1 / "memory/slurm_n1"), v1)
    assert list(configured.jobs()) == [7]
    assert configured.root == v1 / "freezer/slurm_n1"


def test_a_job_that_goes_while_it_is_read(v2: Path) -> None:
    job = Cgroups("n1", mount=v2).jobs()[7]
    for folder, _, files in os.walk(v2 / "system.slice", topdown=False):
        for name in files:
            Path(folder, name).unlink()
        Path(folder).rmdir()
    assert job.usage() is None
    assert job.pids() == []


def test_real_processes(cgroups: JobCgroups, node: str) -> None:
    cgroups.make(1, limit=300 * MIB)
    process = cgroups.hold(1, 40)
    found = Cgroups(node)
    job = found.jobs()[1]
    assert job.pids() == [process.pid]
    assert found.job_of(process.pid) == 1
    assert found.job_of(os.getpid()) is None
    assert found.job_of(2**22 + 1) is None

    def counted() -> Usage | None:  # the kernel adds its counters up each two seconds
        usage = job.usage()
        return usage if usage and sum(usage.nodes.values()) >= 40 * MIB and usage.minor_faults else None

    usage = until(counted, "the kernel to have counted")
    assert usage is not None
    assert sum(usage.nodes.values()) < 80 * MIB
    assert usage.limit == 300 * MIB
    assert usage.peak >= 40 * MIB
    process.kill()
    process.wait()
    cgroups.remove(1, NOBODY)
    until(lambda: job.usage() is None, "the cgroup to be gone")

"""What a node is busy with: counters, GPUs, round trips, the spool; and a real agent over an outage of the service."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from handmade import AgentProcess, JobCgroups, until

from tierwise.client import DecisionClient
from tierwise.errors import TierwiseError
from tierwise.telemetry import Measurement, NodeLoad, Utilisation
from tierwise_node.telemetry import spool as spools
from tierwise_node.telemetry.gpus import Gpus, GpuUse, Installed
from tierwise_node.telemetry.hardware import Machine
from tierwise_node.telemetry.latency import round_trips
from tierwise_node.telemetry.meters import Meters
from tierwise_node.telemetry.slurm_use import SlurmUse
from tierwise_node.telemetry.spool import Spool

RECORDED = Path(__file__).parent / "fixtures/nvml-two-gpus.json"


class RecordedNvml:
    """NVML's functions as pynvml has them, answering what a file says."""

    class NVMLError(Exception):
        """What pynvml raises."""

    def __init__(self, path: Path) -> None:
        self._said = json.loads(path.read_text())

    def nvmlDeviceGetCount(self) -> int:
        return len(self._said)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def __getattr__(self, name: str) -> Any:
        def answer(handle: int, *_: object) -> Any:
            said = self._said[handle][name]
            if said == "NVMLError":
                raise self.NVMLError(name)
            return json.loads(json.dumps(said), object_hook=lambda fields: SimpleNamespace(**fields))

        return answer


def test_gpus_as_nvml_tells_of_them() -> None:
    gpus = Gpus(RecordedNvml(RECORDED), lambda pid: pid == 4711)
    assert gpus.installed() == Installed(("Tesla P100-PCIE-16GB", "Tesla P100-PCIE-16GB"), 2 * 17071734784)
    use = gpus.use()
    # The first: 88 % busy, 60 % of it a job's; 8 GiB in use, 6 GiB a job's. The second says nothing of processes.
    assert use.busy == pytest.approx((0.88 + 0.40) / 2)
    assert use.busy_others == pytest.approx((0.28 + 0.40) / 2)
    assert use.memory == pytest.approx((8 + 1) * 2**30 / (2 * 17071734784))
    assert use.memory_others == pytest.approx((2 + 1) * 2**30 / (2 * 17071734784))


def test_a_node_without_gpus_has_none() -> None:
    gpus = Gpus(None, lambda pid: False)
    assert (gpus.installed(), gpus.use()) == (Installed(), GpuUse())


def test_slurms_own_load_is_read_at_the_root_of_its_cgroups(tmp_path: Path) -> None:
    v2, v1 = tmp_path / "v2", tmp_path / "v1"
    for node, seconds in (("n1", 2), ("n2", 3)):
        scope = v2 / f"system.slice/{node}_slurmstepd.scope"
        scope.mkdir(parents=True)
        (scope / "cpu.stat").write_text(f"usage_usec {seconds}000000\nuser_usec 1\n")
        (scope / "memory.stat").write_text("anon 1000\nfile 5000\nshmem 24\n")
        for controller in ("cpuacct", "memory"):
            (v1 / controller / f"slurm_{node}").mkdir(parents=True)
        (v1 / f"cpuacct/slurm_{node}/cpuacct.usage").write_text(f"{seconds}000000000\n")
        (v1 / f"memory/slurm_{node}/memory.stat").write_text("rss 1\ntotal_rss 1000\ntotal_shmem 24\ntotal_cache 9\n")
    (v2 / "cgroup.controllers").write_text("cpu memory\n")
    for mount in (v2, v1):
        assert SlurmUse(mount=mount).cpu_seconds() == 5.0
        assert SlurmUse(mount=mount).memory_bytes() == 2048
    assert SlurmUse(mount=tmp_path).cpu_seconds() is None, "nothing counts it"
    assert SlurmUse(str(v2 / "system.slice/n2_slurmstepd.scope"), v2).cpu_seconds() == 3.0


class Told(SlurmUse):
    """A Slurm whose CPU time a test says."""

    said: float | None = 0.0

    def cpu_seconds(self) -> float | None:
        return self.said

    def memory_bytes(self) -> int:
        return 0


@pytest.mark.parametrize("known", [True, False])
def test_what_slurm_uses_is_not_others_load(known: bool) -> None:
    gpus, slurm, jobs = Gpus(None, lambda pid: False), Told(), [False]
    slurm.said = 0.0 if known else None
    meters = Meters(Machine(gpus), gpus, slurm, lambda: jobs[0])
    meters.measure(())
    jobs[0] = True
    started = time.monotonic()
    while time.monotonic() < started + 0.3:
        pass  # a job of Slurm is busy
    slurm.said = 3600.0 if known else None
    busy = meters.measure(())
    assert busy.total.cpu > 0
    assert busy.others.cpu <= (0.0 if known else busy.total.cpu)


def test_round_trips_are_measured_and_silence_is_no_error() -> None:
    found = asyncio.run(round_trips({"n1": "127.0.0.1", "n2": "::1", "n3": "not an address"}))
    assert set(found) == {"n1", "n2"}
    assert all(0 < took < 10**9 for took in found.values())


def one(number: int) -> Measurement:
    return Measurement(number, 10.0, Utilisation(cpu=0.5), Utilisation(), tiers={"dram": 0.25})


def test_the_spool_survives_and_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MOST", 5)
    first = Spool(tmp_path)
    for number in range(8):
        first.put(one(number))
    first.close()
    again = Spool(tmp_path)
    number, kept = again.oldest(3)
    assert kept == (one(3), one(4), one(5))
    again.acknowledge(number)
    assert again.oldest(100)[1] == (one(6), one(7))
    again.close()
    with closing(sqlite3.connect(tmp_path / "telemetry.db")) as database, database:
        database.execute("UPDATE measurements SET content = x'81a5746965727381a3fffefd01'")
    again = Spool(tmp_path)
    again.put(one(9))
    assert again.oldest(2)[1] == (), "what can't be read does not stand before the rest for good"
    assert again.oldest(2)[1] == (one(9),)
    again.close()
    with closing(sqlite3.connect(tmp_path / "telemetry.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM unreadable").fetchone() == (2,)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/telemetry.db").write_bytes(b"no database" * 100)
    memory = Spool(tmp_path / "broken")
    memory.put(one(1))
    assert memory.oldest(1)[1] == (one(1),)
    memory.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="the agent is root")
def test_measurements_of_an_outage_arrive_when_it_is_over(agent: AgentProcess, cgroups: JobCgroups) -> None:
    cgroups.make(31)
    cgroups.hold(31, 30)

    def spooled() -> int:
        spool = Spool(agent.folder / "state")
        try:
            return len(spool.oldest(100)[1])
        finally:
            spool.close()

    until(lambda: spooled() >= 3, "three measurements to wait", 30)
    agent.end(9)  # type: ignore[arg-type]
    agent.start()
    (agent.folder / "run.toml").write_text(
        f'[service]\nlisten = ""\nsocket = "{agent.folder}/decision.sock"\nhook_socket = "{agent.folder}/hook.sock"\n'
        f'database = "sqlite:///{agent.folder}/tierwise.db"\nspool = "{agent.folder}/spool"\n'
    )
    config = str(agent.folder / "run.toml")
    service = subprocess.Popen([sys.executable, "-m", "tierwise_decision.main", "--config", config])
    try:
        client = DecisionClient(str(agent.folder / "decision.sock"))

        def load() -> NodeLoad | None:
            try:
                return client.loads().get(agent.node)
            except TierwiseError:
                return None

        found = until(load, "the node's load", 30)
        assert found is not None
        assert found.hardware.cpus == os.cpu_count()
        assert set(found.measurement.tiers) == {"dram"}
        until(lambda: spooled() == 0, "the spool to be empty", 30)
        text = client._http.get("/metrics").text
        taken = next(line for line in text.splitlines() if line.startswith("tierwise_measurements_total"))
        assert float(taken.split()[1]) >= 3, "those of the outage too"
    finally:
        service.terminate()
        service.wait(30)

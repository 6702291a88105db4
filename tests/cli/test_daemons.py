"""tierctl against a real decision service and a real agent, each a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cli_values import JOBS, NODES, REPORT, SECOND, Tierctl

from tierwise.client import DecisionClient
from tierwise.local import ask
from tierwise.messages import DryRunPlan, Health, JobView, Mechanism, NodeView, PlanKey

DEADLINE = 30.0


def start(module: str, config: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """One of our daemons with this configuration."""
    return subprocess.Popen([sys.executable, "-m", f"{module}.main", "--config", config, *arguments])


def end(daemon: subprocess.Popen[bytes]) -> None:
    """Stop it and wait."""
    daemon.terminate()
    daemon.wait(DEADLINE)


def until_it_listens(daemon: subprocess.Popen[bytes], path: Path) -> None:
    """Wait until the daemon takes connections."""
    deadline = time.monotonic() + DEADLINE
    while True:
        with socket.socket(socket.AF_UNIX) as peer:
            try:
                return peer.connect(str(path))
            except OSError:
                assert daemon.poll() is None, f"{daemon.args} ended with {daemon.returncode}"
                assert time.monotonic() < deadline, f"nobody listens on {path}"
                time.sleep(0.02)


@pytest.fixture
def service(nowhere: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A decision service that knows the nodes and jobs of cli_values."""
    text = nowhere.read_text().replace(
        "[service]",
        f'[service]\nlisten = ""\ndatabase = "sqlite:///{tmp_path}/tierwise.db"\nspool = "{tmp_path}/spool"',
    )
    nowhere.write_text(text.replace("http://127.0.0.1:1", f"{tmp_path}/decision.sock"))
    daemon = start("tierwise_decision", nowhere)
    try:
        until_it_listens(daemon, tmp_path / "decision.sock")
        with DecisionClient(f"{tmp_path}/decision.sock") as client:
            for view in NODES:
                client.sample(view.sample)
        yield daemon
    finally:
        end(daemon)


@pytest.fixture
def agent(nowhere: Path, service: subprocess.Popen[bytes], tmp_path: Path) -> Iterator[Path]:
    """The socket of an agent for a NodeName of this host."""
    text = nowhere.read_text().replace("[agent]", f'[agent]\nstate = "{tmp_path}/agent"')
    nowhere.write_text(text)
    daemon = start("tierwise_node", nowhere, "--node", "here")
    try:
        until_it_listens(daemon, tmp_path / "agent-here.sock")
        ask(f"{tmp_path}/agent-here.sock", {"op": "status"}, timeout=DEADLINE)
        yield tmp_path / "agent-here.sock"
    finally:
        end(daemon)


@pytest.mark.usefixtures("service")
def test_pictures_of_what_the_service_knows(tierctl: Tierctl) -> None:
    status = tierctl("status")
    assert status.returncode == 0, status.stderr
    assert "812 MiB of 2 GiB" in status.stdout
    assert "node-with-a-long-name-0017" in status.stdout
    assert "\x1b" not in status.stdout
    assert "140 ns" in tierctl("nodes").stdout
    assert "4712" in tierctl("jobs").stdout
    assert "uid" not in tierctl("health").stdout


@pytest.mark.usefixtures("service")
def test_the_users_certificates_and_proxies_are_not_asked(tierctl: Tierctl) -> None:
    said = tierctl("health", SSL_CERT_FILE="/does/not/exist", HTTP_PROXY="http://127.0.0.1:9")
    assert said.returncode == 0, said.stderr


@pytest.mark.usefixtures("service")
def test_json_is_the_messages(tierctl: Tierctl) -> None:
    views = msgspec.json.decode(tierctl("status", "--json").stdout, type=list[NodeView])
    assert [view.sample.jobs for view in views if view.sample.node == "n1"] == [JOBS]
    assert len(msgspec.json.decode(tierctl("--json", "nodes", "--node", "n1").stdout, type=list[NodeView])) == 1
    assert msgspec.json.decode(tierctl("health", "--json").stdout, type=Health).nodes_up == 2
    jobs = msgspec.json.decode(tierctl("jobs", "--json").stdout, type=list[JobView])
    assert {view.job_id for view in jobs} >= {4711, 4712}
    plans = msgspec.json.decode(
        tierctl("plan", "--dry-run", "--tier=cap", "--mem=100", "--json").stdout, type=list[DryRunPlan]
    )
    assert {plan.plan.size for plan in plans if plan.plan} == {100 << 20}


@pytest.mark.usefixtures("service")
def test_exit_codes_tell(tierctl: Tierctl) -> None:
    assert tierctl("job", "4711").returncode == 0
    assert tierctl("job", "4712").returncode == 1, "not as planned"
    unknown = tierctl("job", "99")
    assert unknown.returncode == 4
    assert "99" in unknown.stderr
    assert tierctl("plan", "--dry-run", "--tier=cap", "--mem=200").returncode == 0
    assert tierctl("plan", "--dry-run", "--tier=lat", "--mem=1T").returncode == 1, "degraded everywhere"
    assert tierctl("plan", "--dry-run", "--tier=lat:2G", "--mem=1G").returncode == 2, "more than --mem"


@pytest.mark.usefixtures("service")
def test_the_report_of_an_ended_job(tierctl: Tierctl, tmp_path: Path) -> None:
    with DecisionClient(f"{tmp_path}/decision.sock") as client:
        client.report(msgspec.structs.replace(REPORT, key=PlanKey(4799), started=1 * SECOND, ended=61 * SECOND))
    ended = {"op": "ended", "job_id": 4799, "uid": os.getuid(), "state": "TIMEOUT", "started": 1, "ended": 61}
    ask(f"{tmp_path}/hook.sock", ended, timeout=DEADLINE)
    said = tierctl("report", "4799")
    assert said.returncode == 0, said.stderr
    assert "out of time after 1 min" in said.stdout
    view = msgspec.json.decode(tierctl("report", "4799", "--json").stdout, type=JobView)
    assert [(one.state, one.cause) for one in view.attempts] == [("TIMEOUT", "time")]
    running = tierctl("report", "4711")
    assert running.returncode == 4
    assert "has not ended yet" in running.stderr


@pytest.mark.usefixtures("service")
def test_job_ids_are_completed(tierctl: Tierctl) -> None:
    done = tierctl(_TIERCTL_COMPLETE="bash_complete", COMP_WORDS="tierctl job 47", COMP_CWORD="2")
    assert {"plain,4711", "plain,4712"} <= set(done.stdout.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="the agent is root")
def test_the_agent_answers_where_the_service_is_silent(
    tierctl: Tierctl, service: subprocess.Popen[bytes], agent: Path
) -> None:
    end(service)
    status = tierctl("status", "--json")
    assert status.returncode == 0, status.stderr
    assert "this is what the agents of this host say" in status.stderr
    assert [view.sample.node for view in msgspec.json.decode(status.stdout, type=list[NodeView])] == ["here"]
    no_munge = tierctl("status", "--json", "--service", "http://127.0.0.1:9")  # nor is munged needed to ask the agent
    assert no_munge.returncode == 0, no_munge.stderr
    unknown = tierctl("job", "12", "--agent", str(agent))
    assert unknown.returncode == 4, unknown.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the agent is root")
@pytest.mark.usefixtures("agent")
def test_doctor_asks_the_agent_and_the_service(tierctl: Tierctl) -> None:
    groups = msgspec.json.decode(tierctl("doctor", "--json").stdout, type=dict[str, list[Mechanism]])
    kernel = {row.name: row for row in groups["Node here"]}
    assert kernel["node agent"].state == "used"
    assert "move_pages" in kernel
    assert {row.name: row.state for row in groups["tierctl on this host"]}["decision service"] == "used"

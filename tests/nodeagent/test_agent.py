"""The agent as a process: its socket, its journal, its life and death, with real processes in real cgroups."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from handmade import NOBODY, AgentProcess, JobCgroups, until

from tierwise.errors import RefusedError
from tierwise.units import MIB

JOB = 4711
ASK_AS_NOBODY = """
import os, sys
from tierwise.local import ask  # before setuid: the checkout may be below a folder that is root's alone
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
print(ask(sys.argv[1], dict(pair.split("=", 1) for pair in sys.argv[3:])))
"""


def ask_as(uid: int, agent: AgentProcess, *fields: str) -> str:
    """What a process of another user, in no job, is answered."""
    done = subprocess.run(
        [sys.executable, "-c", ASK_AS_NOBODY, str(agent.socket), str(uid), *fields],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_job_from_prolog_to_report(agent: AgentProcess, cgroups: JobCgroups) -> None:
    comment = "mine tierwise=0123456789abcdef"
    told = agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment=comment, tier="lat:64M,cap", restart=0)
    assert told == {"status": "ok"}
    cgroups.make(JOB, limit=200 * MIB)
    cgroups.hold(JOB, 50)
    answer = agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="lat:64M,cap", mem=0, restart=0, policy_set=0)
    assert answer["status"] == "ok"
    assert answer["policy"] == "default"  # this host's kernel fills node 0 first by itself
    assert answer["nodes"] == "0"

    job = until(lambda: (now := agent.job(JOB))["found"].get("dram", 0) >= 50 * MIB and now, "its memory to be seen")
    assert job["key"] == {"job_id": JOB, "token": "0123456789abcdef", "restart": 0}
    assert job["uid"] == NOBODY
    assert [(part["memory_class"], part["size"]) for part in job["plan"]["parts"]] == [
        ("LAT", 64 * MIB),
        ("CAP", 136 * MIB),
    ]
    assert "no answer from the decision service" in job["reason"]

    agent.ask(op="exit", job_id=JOB, step=0)
    assert agent.ask(op="epilog", job_id=JOB, uid=NOBODY) == {"status": "ok"}
    (report,) = agent.reports()
    assert report["end"] == "epilog"
    assert report["memory"] == 200 * MIB
    assert report["peak"] >= 50 * MIB
    assert report["tiers"]["dram"]["peak"] >= 50 * MIB
    assert report["tiers"]["dram"]["byte_seconds"] > 0
    assert report["minor_faults"] > 50 * MIB // 4096
    assert report["curve"][-1]["found"]["dram"] >= 50 * MIB
    assert report["whole"]
    assert report["gaps"] == 0
    assert JOB not in agent.jobs()


def test_a_killed_agent_takes_its_jobs_over(agent: AgentProcess, cgroups: JobCgroups) -> None:
    agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment="", tier="cap:100M", restart=0)
    cgroups.make(JOB)
    cgroups.hold(JOB, 20)
    before = until(lambda: (now := agent.job(JOB))["found"].get("dram", 0) >= 20 * MIB and now, "a sample")
    agent.end(signal.SIGKILL)
    agent.start()
    after = until(lambda: (now := agent.job(JOB))["found"].get("dram", 0) >= 20 * MIB and now, "a sample")
    assert (after["key"], after["plan"], after["started"]) == (before["key"], before["plan"], before["started"])
    agent.ask(op="epilog", job_id=JOB, uid=NOBODY)
    (report,) = agent.reports()
    assert report["whole"]
    assert 0 < report["gaps"] < 30
    assert report["tiers"]["dram"]["peak"] >= 20 * MIB


def test_events_are_followed_over_a_restart(agent: AgentProcess, cgroups: JobCgroups, tmp_path: Path) -> None:
    """The next agent's events are new to who has seen the last one's."""
    agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=10 * MIB)
    cgroups.make(JOB)
    command = [sys.executable, "-c", "from tierwise_cli.main import main; main()", "events", "--follow"]
    told, said = tmp_path / "told", tmp_path / "said"
    environment = os.environ | {"TIERWISE_CONFIG": str(agent.config)}
    with told.open("wb") as out, said.open("wb") as errors:
        follower = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
    try:
        cgroups.hold(JOB, 20)
        until(lambda: "grew to" in told.read_text(), "its growth to be told", 60)  # twice, if it was seen half grown
        agent.end(signal.SIGKILL)
        until(lambda: "waiting for it" in said.read_text(), "the silence to be told", 60)
        before = told.read_text().count("grew to")
        agent.start()
        cgroups.hold(JOB, 60)
        until(lambda: told.read_text().count("grew to") > before, "what came after the restart", 60)
    finally:
        follower.kill()
        follower.wait()


def test_a_job_whose_cgroup_goes_without_an_epilog(agent: AgentProcess, cgroups: JobCgroups) -> None:
    cgroups.make(JOB)
    process = cgroups.hold(JOB, 20)
    job = until(
        lambda: JOB in agent.jobs() and agent.job(JOB)["found"].get("dram", 0) > 20 * MIB and agent.job(JOB), "it"
    )
    assert job["plan"] is None
    assert job["uid"] == NOBODY
    process.kill()
    process.wait()
    cgroups.remove(JOB)
    (report,) = until(agent.reports, "the report")
    assert report["end"] == "gone"


def test_another_run_of_the_same_job_is_another_plan(agent: AgentProcess) -> None:
    agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment="", tier="cap:100M", restart=0)
    agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment="", tier="cap:100M", restart=0)
    assert agent.reports() == []
    agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment="", tier="lat:100M", restart=1)
    assert agent.job(JOB)["key"]["restart"] == 1
    assert agent.job(JOB)["directive"] == "lat:100M"
    assert [report["key"]["restart"] for report in agent.reports()] == [0]


def test_what_is_left_of_a_job_after_its_epilog_is_no_new_one(agent: AgentProcess, cgroups: JobCgroups) -> None:
    cgroups.make(JOB)
    cgroups.start(JOB, ["/usr/bin/sleep", "60"])
    agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment="", tier="cap:100M", restart=0)
    agent.ask(op="epilog", job_id=JOB, uid=NOBODY)
    time.sleep(2)  # two beats
    assert JOB not in agent.jobs()
    agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment="", tier="cap:100M", restart=1)
    assert until(lambda: agent.job(JOB)["found"], "the new run's sample")
    assert [report["end"] for report in agent.reports()] == ["epilog"]


def test_a_tasks_word_alone_does_not_end_one_run_after_another(agent: AgentProcess) -> None:
    for restart in range(5):
        agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB, restart=restart)
    assert agent.reports() == []
    assert agent.job(JOB)["key"]["restart"] == 4


def test_a_suspended_job_is_seen(agent: AgentProcess, cgroups: JobCgroups) -> None:
    agent.ask(op="prolog", job_id=JOB, uid=NOBODY, comment="", tier="cap:100M", restart=0)
    cgroups.make(JOB)
    cgroups.hold(JOB, 5)
    cgroups.freeze(JOB, True)
    until(lambda: agent.job(JOB)["suspended"], "the job to be suspended")
    cgroups.freeze(JOB, False)
    until(lambda: not agent.job(JOB)["suspended"], "the job to run again")


def test_a_step_fits_into_its_jobs_plan_or_is_refused(agent: AgentProcess) -> None:
    def step(directive: str) -> dict[str, str]:
        return agent.ask(op="task", job_id=JOB, step=1, uid=NOBODY, tier=directive, mem=200 * MIB, restart=0)

    assert step("lat:64M,cap")["status"] == "ok"
    assert step("")["nodes"] == "0"
    assert step("cap:100M")["status"] == "ok"
    assert step("lat:64M,cap:136M")["status"] == "ok"
    assert (step("off")["policy"], step("off")["nodes"]) == ("default", "")
    with pytest.raises(RefusedError, match="has no BW part"):
        step("bw")
    with pytest.raises(RefusedError, match=r"65 MiB of LAT, but the job's plan \(lat:67108864,cap|64 MiB"):
        step("lat:65M")
    with pytest.raises(RefusedError, match="unknown class"):
        step("fast")


def test_a_policy_that_was_set_already_degrades_the_plan(agent: AgentProcess) -> None:
    answer = agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB, policy_set=1)
    assert "memory policy was set already" in answer["degraded"]
    agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB, policy_set=1)
    assert len(agent.job(JOB)["plan"]["degraded"]) == 1


def test_a_task_can_not_claim_more_than_its_job_can_use(agent: AgentProcess, cgroups: JobCgroups) -> None:
    cgroups.make(JOB, limit=128 * MIB)
    agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="lat:1T,cap", mem=1 << 50)
    assert [(part["memory_class"], part["size"]) for part in agent.job(JOB)["plan"]["parts"]] == [("LAT", 128 * MIB)]


@pytest.mark.parametrize("directive", ["", "auto", "off", "nonsense", "lat:9999999999999T"])
def test_a_job_without_a_usable_request_is_left_alone(agent: AgentProcess, directive: str) -> None:
    answer = agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier=directive, mem=64 * MIB)
    assert answer["status"] == "none"
    assert answer["reason"]


def test_other_users_are_refused(agent: AgentProcess) -> None:
    agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB)
    stranger = NOBODY - 1
    assert "is not yours" in ask_as(stranger, agent, "op=job", f"job_id={JOB}")
    assert "is not yours" in ask_as(stranger, agent, "op=exit", f"job_id={JOB}")
    assert "is not yours" in ask_as(stranger, agent, "op=heatmap", f"job_id={JOB}")
    assert "only root" in ask_as(NOBODY, agent, "op=prolog", f"job_id={JOB}", f"uid={NOBODY}")
    assert "only root" in ask_as(NOBODY, agent, "op=epilog", f"job_id={JOB}", f"uid={NOBODY}")
    assert f"asked as uid {NOBODY}" in ask_as(stranger, agent, "op=task", f"job_id={JOB}", f"uid={NOBODY}")
    assert "not in a cgroup of job" in ask_as(NOBODY, agent, "op=task", f"job_id={JOB}", f"uid={NOBODY}", "tier=cap")
    assert "not of uid" in ask_as(stranger, agent, "op=task", f"job_id={JOB}", f"uid={stranger}", "tier=cap")
    assert '"jobs":[]' in ask_as(stranger, agent, "op=status")
    assert f'"job_id":{JOB}' in ask_as(NOBODY, agent, "op=status")
    assert f'"job_id":{JOB}' in ask_as(NOBODY, agent, "op=job", f"job_id={JOB}")


def test_a_task_in_the_jobs_cgroup_may_ask(agent: AgentProcess, cgroups: JobCgroups) -> None:
    cgroups.make(JOB)
    question = f"op=task\njob_id={JOB}\nuid={NOBODY}\nstep=0\ntier=cap\nmem={64 * MIB}\n\n"
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect(%r); s.sendall(%r); print(s.recv(9999).decode())"
    )
    process = cgroups.start(JOB, ["/usr/bin/python3", "-I", "-c", program % (str(agent.socket), question.encode())])
    assert "status=ok" in process.communicate(timeout=60)[0]


@pytest.mark.parametrize(
    "junk",
    [
        b"\n\n", b"op=nothing\n\n", b"op\n\n", b"op=job\njob_id=-1\n\n", b"op=job\njob_id=" + b"9" * 40 + b"\n\n",
        b"\xff\xfe\x00\n\n", b"op=status\nop=status\n\n", b"op=job\njob_id=1%00\n\n",
        b"".join(b"k%d=1\n" % number for number in range(100)) + b"\n",
        b"op=prolog\njob_id=1\nuid=1\ntier=" + b"x" * 1000 + b"\n\n",
    ],
)  # fmt: skip
def test_junk_is_an_error_and_the_agent_lives(agent: AgentProcess, junk: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(agent.socket))
        peer.sendall(junk)
        assert b"status=error" in peer.recv(65536)
    assert agent.answers()


def test_a_message_without_end_is_cut_off(agent: AgentProcess) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(agent.socket))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            peer.sendall(b"x" * (8 << 20))
    assert agent.answers()


def test_half_a_message_is_dropped_and_no_descriptor_leaks(agent: AgentProcess) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{agent.pid}/fd"))

    before = descriptors()
    peers = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for peer in peers:
        peer.connect(str(agent.socket))
        peer.sendall(b"op=sta")
    until(lambda: descriptors() >= before + 90, "the connections")  # some of `before` were of the agent's start
    until(lambda: descriptors() <= before, "the connections to be dropped")
    for peer in peers:
        assert peer.recv(1) == b""
        peer.close()
    assert agent.answers()


def test_two_pairs_on_one_connection(agent: AgentProcess) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(agent.socket))
        for _ in range(2):
            peer.sendall(b"op=epilog\njob_id=1\nuid=0\n\n")
            assert peer.recv(65536) == b"status=ok\n\n"


def test_sighup_reads_the_configuration_again(agent: AgentProcess) -> None:
    agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB)
    agent.configure({"capacity_share": 0.5})
    before = json.loads(agent.ask(op="status")["json"])["tiers"][0]["capacity"]
    os.kill(agent.pid, signal.SIGHUP)

    def halved() -> bool:
        return agent.answers() and json.loads(agent.ask(op="status")["json"])["tiers"][0]["capacity"] < before * 0.7

    until(halved, "the new share to hold")
    assert agent.job(JOB)["directive"] == "cap"
    agent.config.write_text("[agent]\nno_such_key = 1\n")
    os.kill(agent.pid, signal.SIGHUP)
    until(lambda: "goes on with what it had" in agent.log.read_text(), "the complaint")
    until(agent.answers, "it to answer")


def test_sigterm_is_a_clean_end_and_plans_stay(agent: AgentProcess) -> None:
    agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB)
    assert agent.end(signal.SIGTERM) == 0
    assert not agent.socket.exists()
    agent.start()
    assert agent.job(JOB)["directive"] == "cap"


def test_a_damaged_journal_is_set_aside(agent: AgentProcess) -> None:
    agent.end(signal.SIGTERM)
    (agent.folder / "state/journal.db").write_bytes(b"junk" * 10_000)
    agent.start()
    assert list((agent.folder / "state").glob("*.damaged"))
    assert "set aside" in agent.log.read_text()
    agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB)


def test_without_a_disk_the_agent_still_plans(agent: AgentProcess) -> None:
    agent.end(signal.SIGTERM)
    agent.configure({"state": "/proc/nowhere"})
    agent.start()
    assert agent.ask(op="task", job_id=JOB, step=0, uid=NOBODY, tier="cap", mem=64 * MIB)["status"] == "ok"
    journal = next(row for row in json.loads(agent.ask(op="doctor")["json"]) if row["name"] == "journal")
    assert journal["state"] == "missing"


def test_doctor_names_every_mechanism_once(agent: AgentProcess) -> None:
    rows = json.loads(agent.ask(op="doctor")["json"])
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    assert {"job cgroups", "HMAT", "MPOL_PREFERRED_MANY", "move_pages", "PSI", "decision service"} <= set(names)
    assert all(row["detail"] for row in rows)


def test_at_rest_it_costs_little(agent: AgentProcess) -> None:
    """The budget is 80 MB and 1 % of a core at one sample a second; here it samples ten times as often."""
    status = Path(f"/proc/{agent.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 80_000

    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{agent.pid}/stat").read_text().rpartition(") ")[2].split()[11:13]))

    begun, before = time.monotonic(), ticks()
    until(lambda: time.monotonic() > begun + 3, "three seconds")
    assert (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.1 * 3

"""What the hook is answered about a submission, by a real service."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import msgspec
import pytest
from decision_service import ALICE, TIERS, Service, as_uid, eventually, node_sample

from tierwise.errors import RefusedError
from tierwise.lines import decode, encode
from tierwise.local import ask
from tierwise.tiers import Tier
from tierwise.units import MIB


@pytest.mark.parametrize(
    ("tier", "gres"),
    [
        ("lat", "tier_dram:300"),
        ("cap", "tier_cxl:300"),
        ("lat:64M,cap", "tier_dram:64,tier_cxl:236"),
        ("lat:50%,cap:50%", "tier_dram:150,tier_cxl:150"),
        ("cap:100M", "tier_dram:200,tier_cxl:100"),  # what has no class goes where the kernel would put it
        ("bw", "tier_dram:182,tier_pmem:91,tier_cxl:27"),  # 200 : 100 : 30 GB/s
    ],
)
def test_gres_add_up_to_the_memory(service: Service, tier: str, gres: str) -> None:
    answer = service.submit(tier)
    assert answer["status"] == "ok"
    assert re.fullmatch("[0-9a-f]{16}", answer["token"])
    counts = dict(item.split(":") for item in answer["gres"].split(","))
    assert sum(map(int, counts.values())) == 300
    assert counts == dict(item.split(":") for item in gres.split(","))


def test_every_submission_has_a_token_of_its_own(service: Service) -> None:
    assert len({service.submit("lat")["token"] for _ in range(50)}) == 50


@pytest.mark.parametrize("tier", ["", "auto", "AUTO"])
def test_without_history_the_kernel_places(service: Service, tier: str) -> None:
    answer = service.submit(tier)
    assert answer["status"] == "none"
    assert answer["notice"] == "no history yet: the kernel places it"


def test_off(service: Service) -> None:
    answer = service.submit("off")
    assert (answer["status"], answer.get("token")) == ("none", None)


def test_a_wrong_directive_that_came_past_the_terminal_is_ignored_with_a_notice(service: Service) -> None:
    answer = service.submit("ram:1G")
    assert answer["status"] == "none"
    assert "unknown class" in answer["notice"]
    assert service.submit("lat:" + "1" * 200)["status"] == "none"


def test_sizes_beyond_an_explicit_memory_are_refused(service: Service) -> None:
    with pytest.raises(RefusedError, match=r"400 MiB.*300 MiB.*--mem"):
        service.submit("lat:200M,cap:200M")
    assert service.counted('tierwise_submits_total{status="refused"}') == 1


def test_sizes_beyond_a_default_memory_are_clipped_with_a_notice(service: Service) -> None:
    answer = service.submit("lat:200M,cap:200M", mem_from="default")
    assert answer["gres"] == "tier_dram:200,tier_cxl:100"
    assert "clipped" in answer["notice"]


def test_memory_not_known(service: Service) -> None:
    assert service.submit("lat:64M,cap:36M", mem=0, mem_from="unknown")["gres"] == "tier_dram:64,tier_cxl:36"
    answer = service.submit("lat:64M,cap", mem=0, mem_from="unknown")
    assert answer["gres"] == "tier_dram:64"
    assert "not known" in answer["notice"]
    answer = service.submit("cap", mem=0, mem_from="unknown")
    assert (answer["status"], answer.get("gres")) == ("ok", None)


def test_a_whole_node(service: Service) -> None:
    answer = service.submit("lat:1G,cap", mem=0, mem_from="unknown", whole_node=1)
    counts = dict(item.split(":") for item in answer["gres"].split(","))
    assert {tier: int(count) for tier, count in counts.items()} == {
        f"tier_{tier.name}": tier.capacity // MIB for tier in TIERS
    }


def test_a_degraded_plan_is_said_and_never_asks_for_more_than_a_node_has(service: Service) -> None:
    answer = service.submit("cap", mem=6000 * MIB)
    assert answer["gres"] == "tier_dram:2048,tier_pmem:1024,tier_cxl:1024"
    assert "degraded" in answer["notice"]
    assert "fit on no tier" in answer["notice"]


def test_memory_is_rounded_up(service: Service) -> None:
    answer = service.submit("lat:33%,cap", mem=300 * MIB + 1)
    assert sum(int(item.split(":")[1]) for item in answer["gres"].split(",")) == 301


@pytest.mark.parametrize("fields", [{"user_gres": 1}, {"launch": "other"}])
def test_no_gres_where_they_would_harm(service: Service, fields: dict[str, str | int]) -> None:
    answer = service.submit("lat", **fields)
    assert (answer["status"], answer.get("gres")) == ("ok", None)


def test_no_node_is_known(fresh_service: Service) -> None:
    answer = fresh_service.submit("lat")
    assert (answer["status"], answer.get("gres")) == ("ok", None)
    assert "no node has reported" in answer["notice"]
    fresh_service.client().sample(node_sample())
    assert "gres" in fresh_service.submit("lat"), "what was answered before is forgotten"


def test_configured_preference_and_no_gres_and_a_reload(make_service: Callable[..., Service]) -> None:
    service = make_service(config='prefer = {LAT = "fastmem", CAP = "bigmem"}').start()
    service.client().sample(node_sample())
    assert service.submit("cap")["prefer"] == "bigmem"
    assert service.submit("cap,lat:10M")["prefer"] == "fastmem"
    assert service.submit("bw").get("prefer") is None
    service.port = 1  # needs a restart: said, not done
    service.configure("gres = false")
    assert service.process
    service.process.send_signal(1)
    eventually(lambda: "gres" not in service.submit("cap"))
    assert "only a restart changes service.listen" in service.log
    service.configure("gres = 7")
    service.process.send_signal(1)
    eventually(lambda: "configuration not reloaded" in service.log)
    assert service.submit("cap")["status"] == "ok"


def test_the_least_degraded_shape_is_planned_on(fresh_service: Service) -> None:
    service = fresh_service
    client = service.client()
    client.sample(node_sample())
    for number in range(3):
        client.sample(node_sample(f"plain{number}", tiers=TIERS[:1]))
    assert service.submit("cap")["gres"] == "tier_cxl:300"
    client.sample(node_sample("large", tiers=resized(lambda capacity: 2 * capacity)))
    assert service.submit("cap", mem=6000 * MIB)["gres"] == "tier_dram:1904,tier_pmem:2048,tier_cxl:2048"
    client.sample(node_sample("large", tiers=TIERS[:1]))  # a node may change
    assert "degraded" in service.submit("cap", mem=6000 * MIB)["notice"]
    # Nodes of almost the same size are one shape, and what all of them have counts.
    client.sample(node_sample("n1", tiers=resized(lambda capacity: capacity + 20 * MIB)))
    client.sample(node_sample("n2", tiers=resized(lambda capacity: capacity + 10 * MIB)))
    assert service.submit("cap", mem=1040 * MIB)["gres"] == "tier_pmem:6,tier_cxl:1034"
    client.sample(node_sample("n2", tiers=TIERS[:1]))
    assert service.submit("cap", mem=1040 * MIB)["gres"] == "tier_cxl:1040"


def resized(capacity: Callable[[int], int]) -> tuple[Tier, ...]:
    return tuple(msgspec.structs.replace(tier, capacity=capacity(tier.capacity)) for tier in TIERS)


def test_junk_is_answered_and_the_next_question_too(service: Service) -> None:
    before = service.counted(junk := 'tierwise_complaints_total{kind="hook_junk"}')
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(service.hook))
        for fields, part in [
            ({"op": "submit"}, "nonce"),
            ({"op": "dance", "nonce": "1"}, "op"),
            ({"op": "submit", "nonce": "1", "uid": "-1"}, "uid"),
            ({"op": "submit", "nonce": "n" * 65, "uid": "1"}, "nonce"),
            ({"op": "submit", "nonce": "1", "uid": "1", "mem": "9" * 30}, "mem"),
        ]:
            peer.sendall(encode(fields))
            answer = decode(peer.recv(65536))
            assert answer["status"] == "error"
            assert part in answer["reason"]
            assert answer["nonce"] in ("1", "", "n" * 64)
        peer.sendall(encode({"op": "submit", "nonce": "2", "uid": "1", "tier": "lat"}))
        assert decode(peer.recv(65536))["status"] == "ok"
    assert service.counted(junk) == before + 5
    assert service.log.count("hook_junk") == 1  # once a minute


def test_only_slurm_may_ask(fresh_service: Service) -> None:
    service = fresh_service
    with as_uid(ALICE), pytest.raises(RefusedError, match="hook_uids"):
        ask(str(service.hook), {"op": "submit", "nonce": "1", "uid": ALICE, "tier": "lat"})
    service.configure(f"hook_uids = [{ALICE}]")
    assert service.process
    service.process.send_signal(1)
    eventually(lambda: "configuration reloaded" in service.log)
    with as_uid(ALICE):
        assert service.submit("lat")["status"] == "ok"


def test_a_long_name_is_no_reason_to_leave_a_job_without_a_plan(service: Service) -> None:
    answer = service.submit("lat", job_name="ä" * 5000, account="x" * 1000)
    assert answer["status"] == "ok"

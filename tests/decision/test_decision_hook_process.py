"""The hook's process: it answers while the service can't, it goes with the service, and comes back when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from decision_service import Service, eventually, node_sample, plan_query

from tierwise.errors import TierwiseError
from tierwise_decision.known import Known, News, Shape
from tierwise_decision.link import FromService, Link, Stop, frame
from tierwise_decision.telemetry import SECOND
from tierwise_lab.stack import listens


@contextlib.contextmanager
def stopped(service: Service) -> Iterator[None]:
    """The service does nothing at all, as when it has too much to do."""
    assert service.process
    service.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        service.process.send_signal(signal.SIGCONT)


def test_who_finds_the_service_may_submit(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.launch()
    assert eventually(lambda: listens(service.socket), 30)
    assert listens(service.hook)
    assert service.stop() == 0, "a signal that comes at once ends it cleanly"


def test_submissions_do_not_wait_for_the_service(fresh_service: Service) -> None:
    client = fresh_service.client()
    client.sample(node_sample())
    with stopped(fresh_service):
        answer = fresh_service.submit("lat:64M,cap")
        assert answer["gres"] == "tier_dram:64,tier_cxl:236"
    planned = client.plan(plan_query(1, answer["token"]))
    assert planned.directive == "lat:67108864,cap"
    assert fresh_service.counted('tierwise_submits_total{status="ok"}') == 1


def test_it_is_started_again_and_knows_what_its_predecessor_knew(fresh_service: Service) -> None:
    fresh_service.client().sample(node_sample())
    before = fresh_service.submit("lat:64M,cap")
    (killed,) = fresh_service.children()
    os.kill(killed, signal.SIGKILL)
    assert eventually(lambda: killed not in fresh_service.children() and fresh_service.children(), 30)
    assert eventually(lambda: answered(fresh_service) == before["gres"], 30)
    assert fresh_service.counted('tierwise_complaints_total{kind="hook_process"}') == 1
    assert eventually(lambda: fresh_service.client().health().ok)
    assert fresh_service.stop() == 0
    assert list(fresh_service.hook.parent.glob("*.sock")) == []


def answered(service: Service) -> str:
    """The GRES of a submission; empty where nobody answers."""
    with contextlib.suppress(TierwiseError, OSError):
        return service.submit("lat:64M,cap").get("gres", "")
    return ""


def test_it_goes_with_a_killed_service(fresh_service: Service) -> None:
    (pid,) = fresh_service.children()
    fresh_service.kill()
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert fresh_service.hook.exists()  # for the next service to replace


def test_frames_are_taken_whole_however_they_come() -> None:
    heard: list[FromService] = []
    link: Link[FromService] = Link(FromService, heard.append)
    said = [News(shapes={"dram:1": Shape(node_sample().tiers, 2)}, links={"n1": 7}), Stop(), News(avoided={"n1": 0.9})]
    for byte in b"".join(map(frame, said)):
        link.data_received(bytes([byte]))
    assert heard == said


def test_a_copy_is_told_all_and_then_what_is_new() -> None:
    original, copy = Known(), Known()
    shape = Shape(node_sample().tiers)
    original.take(News(shapes={"a": shape, "b": shape}))
    original.avoid("n1", 0.91)
    original.link("n1", SECOND)
    copy.take(original.all())
    original.passed_on = copy.take
    original.take(News(shapes={"a": None}))
    original.avoid("n1", None)
    assert copy.shapes == original.shapes == {"b": shape}
    assert copy.avoided == original.avoided == {}

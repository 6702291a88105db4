"""The line protocol: what goes in comes out, and junk is an error and nothing else."""

import contextlib
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.errors import ProtocolError, RefusedError, UnavailableError
from tierwise.lines import MAX_KEYS, MAX_MESSAGE, decode, encode
from tierwise.local import ask

KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=20))
def test_round_trip(fields):
    message = encode(fields)
    assert message.endswith(b"\n\n")
    assert message.count(b"\n\n") == 1
    assert decode(message) == fields


@given(st.binary(max_size=300))
def test_junk_is_a_protocol_error_and_nothing_else(junk):
    with contextlib.suppress(ProtocolError):
        assert all(isinstance(value, str) for value in decode(junk).values())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"a=" + b"x" * MAX_MESSAGE + b"\n\n", "at most"),
        (b"".join(b"k%d=\n" % number for number in range(MAX_KEYS + 1)) + b"\n", "lines"),
        (b"a=1\na=2\n\n", "new key"),
        (b"A=1\n\n", "key=value"),
        (b"a=%00\n\n", "NUL"),
        (b"a=%ff\n\n", "UTF-8"),
        (b"a=\xff\n\n", "ASCII"),
    ],
)
def test_bounds(message, reason):
    with pytest.raises(ProtocolError, match=reason):
        decode(message)


@pytest.fixture
def answering(tmp_path):
    """A peer that reads one message and answers with the given bytes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "peer.sock"))
    listener.listen()

    def serve(answer: bytes) -> str:
        def once() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(MAX_MESSAGE)
                peer.sendall(answer)

        threading.Thread(target=once, daemon=True).start()
        return str(tmp_path / "peer.sock")

    with listener:
        yield serve


def test_ask(answering):
    large = "x" * (2 * MAX_MESSAGE)
    assert ask(answering(encode({"status": "ok", "json": large})), {"op": "status"})["json"] == large


def test_ask_refused(answering):
    with pytest.raises(RefusedError, match="not yours"):
        ask(answering(encode({"status": "refused", "reason": "not yours"})), {"op": "job"})


def test_ask_half_an_answer(answering):
    with pytest.raises(ProtocolError, match="closed"):
        ask(answering(b"status=ok\n"), {"op": "job"})


def test_ask_nobody(tmp_path):
    with pytest.raises(UnavailableError, match="could not ask"):
        ask(str(tmp_path / "nobody.sock"), {"op": "job"})


def test_ask_somebody_silent(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "silent.sock"))
        listener.listen()
        with pytest.raises(UnavailableError, match=r"within 0\.05 s"):
            ask(str(tmp_path / "silent.sock"), {"op": "job"}, timeout=0.05)

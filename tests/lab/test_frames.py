"""Whatever pieces the bytes arrive in, the frames come out as they went in."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tierwise_lab.frames import Kind, Unframer, frame

FRAMES = st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=300)))


@given(FRAMES, st.data())
def test_frames_survive_any_cutting(frames: list[tuple[Kind, int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frame(*one) for one in frames)
    arrived: list[tuple[Kind, int, bytes]] = []
    unframer = Unframer(lambda *one: arrived.append(one))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=10)) | {0, len(stream)})
    for start, end in pairwise(cuts):
        unframer.feed(stream[start:end])
    assert arrived == frames

"""Framing: any chunking gives the same frames, and no claimed size is believed before its bytes arrive."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka._state.framing import FrameReader, recognise_foreign_protocol
from krafka.errors import ProtocolError

LIMIT = 1000
bodies = st.lists(st.binary(min_size=4, max_size=60), max_size=8)


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def reader(limit: int = LIMIT) -> FrameReader:
    return FrameReader(limit, "broker 1 at kafka:9092")


@given(bodies=bodies, data=st.data())
def test_any_chunking_gives_the_same_frames(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(framed, bodies))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    frames = reader()
    views = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        views += frames.feed(stream[start:end])
    # Compared at the end: a view must not change when later bytes arrive.
    assert [bytes(view) for view in views] == bodies
    assert frames.held_bytes == 0


@given(bodies=bodies, tail=st.binary(min_size=4, max_size=20))
def test_an_unfinished_frame_is_held_and_nothing_else(bodies: list[bytes], tail: bytes) -> None:
    frames = reader()
    unfinished = framed(tail)[:-1]
    assert [bytes(view) for view in frames.feed(b"".join(map(framed, bodies)) + unfinished)] == bodies
    assert frames.held_bytes == len(unfinished)
    assert [bytes(view) for view in frames.feed(tail[-1:])] == [tail]


def test_byte_by_byte() -> None:
    frames = reader()
    stream = framed(b"first") + framed(b"second")
    received = [bytes(view) for byte in stream for view in frames.feed(bytes([byte]))]
    assert received == [b"first", b"second"]


def test_whole_frames_are_views_of_the_bytes_received() -> None:
    data = framed(b"first") + framed(b"second")
    assert all(view.obj is data for view in reader().feed(data))


@pytest.mark.parametrize("size", [-(2**31), -1, 0, 3])
def test_a_size_too_small_for_a_response(size: int) -> None:
    with pytest.raises(ProtocolError, match=rf"broker 1 at kafka:9092 .* {size} bytes .* at least 4 bytes"):
        list(reader().feed(struct.pack(">i", size)))


@pytest.mark.parametrize("size", [LIMIT + 1, 2**31 - 1])
def test_a_size_over_the_limit_names_size_and_limit(size: int) -> None:
    with pytest.raises(ProtocolError, match=rf"{size} bytes .* limit is {LIMIT} bytes \(max_response_size\)"):
        list(reader().feed(struct.pack(">i", size)))


def test_the_limit_itself_is_allowed() -> None:
    assert [len(view) for view in reader().feed(framed(bytes(LIMIT)))] == [LIMIT]


def test_frames_before_a_bad_size_are_given_first() -> None:
    frames = reader().feed(framed(b"good") + struct.pack(">i", -5))
    assert bytes(next(frames)) == b"good"
    with pytest.raises(ProtocolError, match="-5 bytes"):
        next(frames)


def test_a_claimed_size_allocates_nothing() -> None:
    frames = reader(limit=2**31 - 1)
    tracemalloc.start()
    try:
        for _ in frames.feed(struct.pack(">i", 2**31 - 1) + b"x" * 100):
            pytest.fail("no frame is complete")
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    assert frames.held_bytes == 104


def test_a_large_frame_in_small_reads_grows_in_place() -> None:
    body = bytes(range(256)) * 16 * 1024
    stream = framed(body)
    frames = reader(limit=len(body))
    received: list[memoryview] = []
    tracemalloc.start()
    try:
        for start in range(0, len(stream), 4096):
            received += frames.feed(stream[start : start + 4096])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [bytes(view) for view in received] == [body]
    assert peak < 3 * len(body)


@pytest.mark.parametrize(
    ("first_bytes", "words"),
    [
        (b"\x15\x03\x03\x00\x02\x02\x28", "speaks TLS; set tls=True"),
        (b"\x15\x03\x01\x00", "speaks TLS; set tls=True"),
        (b"HTTP/1.1 400 Bad Request", "HTTP server"),
        (b"SSH-2.0-OpenSSH_9.6", "SSH server"),
    ],
)
def test_other_protocols_are_recognised_by_their_first_bytes(first_bytes: bytes, words: str) -> None:
    assert words in (recognise_foreign_protocol(first_bytes) or "")
    with pytest.raises(ProtocolError, match=words):
        list(reader().feed(first_bytes))


def test_foreign_bytes_after_a_good_frame_are_damage_not_another_protocol() -> None:
    frames = reader()
    assert len(list(frames.feed(framed(b"good")))) == 1
    with pytest.raises(ProtocolError, match="stream is damaged"):
        list(frames.feed(b"HTTP"))


def test_kafka_bytes_are_not_taken_for_another_protocol() -> None:
    assert recognise_foreign_protocol(framed(b"\x00\x00\x00\x01rest")) is None
    assert recognise_foreign_protocol(b"") is None

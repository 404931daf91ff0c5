"""A live connection under spoilt answers: as many are matched as are sound, then it ends, and every request knows."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka._io.connection import Connection, ConnectionOptions
from krafka._state.framing import FrameReader
from krafka._state.pipeline import RequestPipeline
from krafka._wire.api import APIS_BY_KEY
from krafka._wire.api_versions import ApiVersionsRequest, ApiVersionsResponse, ApiVersionsResponseVersion
from krafka._wire.frames import encode_response
from krafka.errors import (
    ConnectionFailedError,
    KafkaError,
    NetworkError,
    ProtocolError,
    UnsupportedVersionError,
)
from krafka.testing.fake.streams import MemoryStream, pair

from .corpus import Specimen, corpus
from .mutator import mutated, stream_of

if TYPE_CHECKING:
    from anyio.abc import ByteStream

pytestmark = pytest.mark.anyio

CONNECTIONS = 400
PEER = "broker at kafka:9092"
LIMIT = 2**20


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="krafka")


class OneStream:
    """A connector with a stream for one connection."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    async def connect(self, host: str, port: int) -> ByteStream:
        await anyio.lowlevel.checkpoint()
        return self._stream


def answers(random: Random, specimens: list[Specimen], first_correlation_id: int) -> list[bytes]:
    """What arrives for requests that the specimens answer, one of them spoilt; behind it only noise is sound."""
    chunks: list[bytes] = []
    worst = random.randrange(len(specimens))
    for index, specimen in enumerate(specimens):
        frame = (first_correlation_id + index).to_bytes(4, "big") + specimen.frame[4:]
        if index == worst:
            frame = mutated(random, frame, random.choice(corpus()).frame)
            chunks += stream_of(random, frame)
        else:
            chunks.append(len(frame).to_bytes(4, "big") + frame)
    if random.random() < 0.3:
        chunks = [b"".join(chunks)]
    return [chunk for chunk in chunks if chunk]


def expected(
    specimens: list[Specimen], first_correlation_id: int, chunks: list[bytes]
) -> tuple[list[Any], str]:
    """The responses that a client without any input or output makes of the bytes, and what it objects to."""
    pipeline = RequestPipeline("krafka", PEER, first_correlation_id)
    for specimen in specimens:
        pipeline.queue(specimen.request(), specimen.version, id, expects_response=True, timeout=9, deadline=9)
    pipeline.take_chunk()
    frames = FrameReader(LIMIT, PEER)
    responses = []
    try:
        for chunk in chunks:
            for frame in frames.feed(chunk):
                responses.append(pipeline.match(frame)[1])  # noqa: PERF401 - those before a bad one count
    except ProtocolError as error:
        return responses, str(error)
    return responses, ""


VERSIONS = ApiVersionsResponse(
    api_keys=[
        ApiVersionsResponseVersion(api_key=api.key, min_version=api.min_version, max_version=api.max_version)
        for api in APIS_BY_KEY.values()
    ]
)


async def receive(broker: MemoryStream, requests: int = 1) -> None:
    """So many whole requests, with nothing behind them."""
    frames = FrameReader(LIMIT, "client")
    while requests > 0:
        requests -= len(list(frames.feed(await broker.receive())))


async def one_connection(seed: int, counts: Counter[str]) -> None:
    random = Random(seed)
    specimens = random.choices(corpus(), k=random.randint(1, 4))
    chunks = answers(random, specimens, first_correlation_id=1)
    responses, objection = expected(specimens, 1, chunks)
    client, broker = pair()
    connection = Connection(("kafka", 9092), OneStream(client), ConnectionOptions(max_frame_size=LIMIT))
    outcomes: list[list[Any]] = [[] for _ in specimens]
    async with anyio.create_task_group() as task_group:

        async def shake_hands() -> None:
            await receive(broker)
            version = ApiVersionsRequest.MAX_VERSION
            await broker.send(b"".join(encode_response(VERSIONS, version, 0)))

        task_group.start_soon(shake_hands)
        await task_group.start(connection.run)
        for specimen, its in zip(specimens, outcomes, strict=True):
            await connection.send(
                specimen.request(),
                version=specimen.version,
                on_response=lambda outcome, _now, its=its: its.append(outcome),
            )
        # A broker answers what it has; what it said before would be an answer to nothing.
        await receive(broker, len(specimens))
        with suppress(anyio.BrokenResourceError):
            for chunk in chunks:
                await broker.send(chunk)
        await broker.send_eof()
    await broker.aclose()
    got = [its[0] for its in outcomes if len(its) == 1]
    assert len(got) == len(specimens), f"seed {seed}: {outcomes}"
    assert got[: len(responses)] == responses
    assert connection.close_reason is not None
    for failure in got[len(responses) :]:
        assert type(failure) is NetworkError
        assert failure.possibly_written
        assert failure.__cause__ is connection.close_reason
    if objection:
        assert type(connection.close_reason) is ProtocolError
        assert str(connection.close_reason) == objection
    else:
        assert type(connection.close_reason) is NetworkError
    counts["refused" if objection else "sound" if len(responses) == len(specimens) else "cut short"] += 1


async def test_spoilt_answers_end_the_connection_and_nothing_else() -> None:
    counts: Counter[str] = Counter()
    with anyio.fail_after(60):
        for seed in range(CONNECTIONS):
            await one_connection(seed, counts)
    assert counts["refused"] > CONNECTIONS / 2
    assert min(counts["sound"], counts["cut short"]) > CONNECTIONS // 100


async def one_handshake(seed: int, counts: Counter[str]) -> None:
    random = Random(seed)
    specimens = [each for each in corpus() if each.response is ApiVersionsResponse]
    client, broker = pair()
    connection = Connection(("kafka", 9092), OneStream(client), ConnectionOptions(max_frame_size=LIMIT))

    async def answer() -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            for attempt in range(random.randint(1, 4)):
                await receive(broker)
                specimen = random.choice(specimens[-12:] if random.random() < 0.7 else specimens)
                body = specimen.frame[4:]
                if random.random() < 0.7:
                    # Unless the code is a good one, nothing behind it is looked at.
                    body = random.choice((b"\x00\x00", b"\x00\x00", b"\x00\x23")) + body[2:]
                frame = attempt.to_bytes(4, "big") + body
                if random.random() < 0.9:
                    frame = mutated(random, frame, random.choice(specimens).frame)
                data = b"".join(stream_of(random, frame))
                await broker.send(data)
                if len(data) < 4 + int.from_bytes(data[:4], "big", signed=True):
                    # The client waits for the rest.
                    break
        await broker.aclose()

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(answer)
        try:
            await task_group.start(connection.run)
        except KafkaError as error:
            counts[_kind(error)] += 1
            assert connection.close_reason is not None
        else:
            counts["open"] += 1
            assert connection.versions is not None
            for api in APIS_BY_KEY.values():
                with suppress(UnsupportedVersionError):
                    assert api.min_version <= connection.api_version(api.request) <= api.max_version
            connection.close()
    await client.aclose()


def _kind(error: KafkaError) -> str:
    if isinstance(error, ConnectionFailedError):
        return "bad bytes" if isinstance(error.__cause__, ProtocolError) else "ended"
    return "an error code"


async def test_spoilt_handshakes_fail_the_connection_and_nothing_else() -> None:
    counts: Counter[str] = Counter()
    with anyio.fail_after(60):
        for seed in range(CONNECTIONS):
            await one_handshake(seed, counts)
    assert set(counts) == {"bad bytes", "ended", "an error code", "open"}
    assert min(counts.values()) > CONNECTIONS // 100

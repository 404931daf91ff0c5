"""A producer whose batches are too large for its codec to be compressed by the event loop's thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty import TOPIC, faulty, numbered, numbers

from krafka import CloseTimeoutError, Compression, ProducerClosedError
from krafka._state import topics
from krafka.compression import bytes_in_a_moment, compressor

if TYPE_CHECKING:
    from krafka.compression import Compressor

pytestmark = pytest.mark.anyio

WORST_LEVEL = {"gzip": 9, "lz4": 12, "zstd": 19}


@pytest.fixture
def used_threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that compress."""
    used: set[int] = set()

    def noting(codec: Compression, level: int | None = None) -> Compressor:
        compress = compressor(codec, level)

        def compress_here(records: Any) -> bytes:
            used.add(threading.get_ident())
            return compress(records)

        return compress_here

    monkeypatch.setattr(topics, "compressor", noting)
    return used


@pytest.mark.parametrize("codec", WORST_LEVEL)
async def test_order_is_kept_and_the_event_loop_free(codec: str, used_threads: set[int]) -> None:
    values = [value + b" " * 2000 for value in numbered(range(1000))]
    async with faulty(
        partitions=2, compression=codec, compression_level=WORST_LEVEL[codec], linger=0.001
    ) as (cluster, producer):
        result = await producer.send_many(TOPIC, values)
        result.raise_for_errors()
    own = threading.get_ident()
    assert used_threads
    assert own not in used_threads
    for partition in range(2):
        written = numbers(cluster.log(TOPIC, partition))
        assert written == sorted(written)
        assert len(written) == 500


async def test_a_lone_record_takes_no_detour(used_threads: set[int]) -> None:
    async with faulty(compression="gzip") as (_, producer):
        await producer.send(TOPIC, b"v" * 1000)
    assert used_threads == {threading.get_ident()}


async def test_an_end_while_a_thread_compresses_fails_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = anyio.Event(), threading.Event()

    def slow(*_: Any) -> Compressor:
        def compress(records: Any) -> bytes:
            anyio.from_thread.run_sync(begun.set)
            assert may_end.wait(60)
            return bytes(records)

        return compress

    monkeypatch.setattr(topics, "compressor", slow)
    try:
        async with faulty(compression="gzip", close_timeout=0.01) as (cluster, producer):
            delivery = await producer.enqueue(TOPIC, b"v" * 200_000)
            await begun.wait()
            with pytest.raises(CloseTimeoutError):
                await producer.close(timeout=0.01)
    finally:
        may_end.set()
    assert isinstance(delivery.exception, ProducerClosedError)
    assert not delivery.exception.possibly_written
    assert cluster.log(TOPIC) == []


@pytest.mark.parametrize(
    ("codec", "level"),
    [
        (codec, level)
        for codec in Compression
        for level in (None, *(codec.levels or ()))
        if level is None or level > -9
    ],
)
def test_stronger_levels_take_no_more_on_the_loop(codec: Compression, level: int | None) -> None:
    moment = bytes_in_a_moment(codec, level)
    assert moment > 0
    if level is not None and level > 1 and codec.levels is not None and level + 1 in codec.levels:
        assert bytes_in_a_moment(codec, level + 1) <= moment

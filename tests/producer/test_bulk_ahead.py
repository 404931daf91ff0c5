"""How far a bulk send gets ahead of its brokers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from faulty import TOPIC, faulty

from krafka import ProducerRecord
from krafka._io.bulk import CHUNK_BYTES
from krafka.errors import NotLeaderOrFollowerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krafka import Producer

pytestmark = pytest.mark.anyio

VALUE = b"v" * 1000
RECORDS = 10_000
SMALL_REQUESTS: dict[str, Any] = {"max_request_size": 100_000, "batch_size": 20_000, "max_in_flight": 1}
ENOUGH = 2 * 100_000 + 6 * CHUNK_BYTES
"""Bytes of records that two such requests hold, and what comes before the first of them is on its way."""


def free_memory(producer: Producer) -> int:
    engine = producer._engine_or_none
    assert engine is not None
    return engine.accumulator.memory.available


async def test_it_waits_for_answers_when_the_brokers_have_enough_to_do() -> None:
    read = 0

    def values() -> Iterator[bytes]:
        nonlocal read
        for _ in range(RECORDS):
            read += 1
            yield VALUE

    async with faulty(**SMALL_REQUESTS) as (cluster, producer):
        free = free_memory(producer)
        fault = cluster.fail("Produce", hold=True)
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(producer.send_many, TOPIC, values())
            await fault.struck()
            await anyio.wait_all_tasks_blocked()
            assert read * len(VALUE) <= ENOUGH
            assert free - free_memory(producer) <= ENOUGH
            # Others have the rest of the memory.
            producer.enqueue_nowait(TOPIC, b"one of another")
            fault.release()
        assert read == RECORDS
        assert len(cluster.log(TOPIC)) == RECORDS + 1


async def test_it_waits_for_no_partition_that_cannot_be_sent_to() -> None:
    read = 0

    def records() -> Iterator[ProducerRecord]:
        nonlocal read
        for number in range(RECORDS):
            read += 1
            # The first records, which wait for their retry, are more than is under way otherwise.
            yield ProducerRecord(TOPIC, VALUE, partition=int(number >= RECORDS // 8))

    slow = {"retry_backoff": 5.0, "retry_backoff_max": 5.0}
    async with faulty(partitions=2, **{**SMALL_REQUESTS, **slow}) as (cluster, producer):
        cluster.fail("Produce", code=NotLeaderOrFollowerError, topic=TOPIC, partition=0)
        with anyio.move_on_after(2):
            await producer.send_many(records())
        assert read == RECORDS


def listed(count: int) -> tuple[Any, ...]:
    return TOPIC, [b"v"] * count


def from_iterator(count: int) -> tuple[Any, ...]:
    return TOPIC, (b"v" for _ in range(count))


def as_records(count: int) -> tuple[Any, ...]:
    return ((ProducerRecord(TOPIC, b"v", key=b"k", headers=[("h", b"x")]) for _ in range(count)),)


@pytest.mark.parametrize(
    ("source_of", "at_once"), [(listed, 8192), (from_iterator, 8192), (as_records, 2048)]
)
async def test_others_get_their_turn_after_so_many_records(
    source_of: Any, at_once: int, anyio_backend: tuple[str, Any]
) -> None:
    """Guards how long the event loop stands still: records with headers take five times what values of a list do."""
    taken = [0]

    async def look(producer: Producer) -> None:
        engine = producer._engine_or_none
        assert engine is not None
        while True:
            await checkpoint()
            taken.append(engine.accumulator.appender.topics[TOPIC].appended)

    async with faulty(partitions=2) as (_, producer), anyio.create_task_group() as task_group:
        task_group.start_soon(look, producer)
        await producer.send_many(*source_of(4 * at_once))
        task_group.cancel_scope.cancel()
    # Trio runs the tasks of a turn in any order, so that the bulk send may have two of its own between two looks.
    most = at_once * (2 if anyio_backend[0] == "trio" else 1)
    assert at_once <= max(after - before for before, after in pairwise(taken)) <= most

"""How far a bulk send gets ahead of its brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
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

"""A bulk send on a producer that ends in the middle keeps what it knows, and does not read for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faulty import TOPIC, faulty

from krafka import ClusterAuthorizationFailedError, ProducerClosedError, ProducerRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from krafka import Producer

pytestmark = pytest.mark.anyio


async def fail_producer(producer: Producer) -> None:
    with pytest.raises(ClusterAuthorizationFailedError):
        await producer.send(TOPIC, b"the one that ends it")


@pytest.mark.parametrize("records", [False, True], ids=["values", "records"])
async def test_every_record_of_a_list_is_told_when_the_producer_has_failed(records: bool) -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=31)
        await fail_producer(producer)
        values = [b"%d" % number for number in range(5)]
        if records:
            result = await producer.send_many([ProducerRecord(TOPIC, value) for value in values])
        else:
            result = await producer.send_many(TOPIC, values)
    assert len(result) == 5
    assert [index for index, _ in result.failed] == [0, 1, 2, 3, 4]
    assert all(isinstance(error, ClusterAuthorizationFailedError) for _, error in result.failed)


async def test_an_endless_iterable_is_not_read_on_when_the_producer_has_failed() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"v"

    async def endless_records() -> AsyncIterator[ProducerRecord]:
        while True:
            yield ProducerRecord(TOPIC, b"v")

    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=31)
        await fail_producer(producer)
        result = await producer.send_many(TOPIC, endless())
        assert read == len(result) == len(result.failed) == 1
        assert len((await producer.send_many(endless_records())).failed) == 1


async def test_what_was_taken_before_a_close_keeps_its_outcome() -> None:
    async with faulty() as (cluster, producer):

        async def values() -> AsyncIterator[bytes]:
            yield b"before"
            await producer.close()
            yield b"after"
            raise AssertionError("read on")

        result = await producer.send_many(TOPIC, values())
        assert result[0].offset == 0
        assert [(index, type(error)) for index, error in result.failed] == [(1, ProducerClosedError)]
        assert [record.value for record in cluster.log(TOPIC)] == [b"before"]

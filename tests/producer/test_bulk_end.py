"""A bulk send on a producer that ends in the middle keeps what it knows, and does not read for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from faulty import TOPIC, faulty

from krafka import ClusterAuthorizationFailedError, ProducerClosedError, ProducerRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("records", [False, True], ids=["values", "records"])
async def test_every_record_of_a_list_is_told_when_the_producer_fails_midway(records: bool) -> None:
    values = [b"%d" % number for number in range(5000)]
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=31)
        if records:
            result = await producer.send_many([ProducerRecord(TOPIC, value) for value in values])
        else:
            result = await producer.send_many(TOPIC, values)
    assert len(result) == 5000
    assert [index for index, _ in result.failed] == list(range(5000))
    assert all(isinstance(error, ClusterAuthorizationFailedError) for _, error in result.failed)


async def test_an_endless_iterable_is_not_read_on_when_the_producer_fails() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"v"

    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=31)
        result = await producer.send_many(TOPIC, endless())
        assert 0 < read == len(result) == len(result.failed)


async def test_an_endless_async_iterable_is_not_read_on_when_the_producer_fails() -> None:
    async def endless() -> AsyncIterator[ProducerRecord]:
        while True:
            await anyio.lowlevel.checkpoint()
            yield ProducerRecord(TOPIC, b"v")

    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=31)
        result = await producer.send_many(endless())
        assert 0 < len(result) == len(result.failed)


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

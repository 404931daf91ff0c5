"""A cluster that is upgraded to the second version of transactions under a running producer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from faulty import TOPIC
from transactional import committed, epochs, transactional

from krafka import TransactionalProducer
from krafka.testing import KafkaCluster
from krafka.testing._startup import run_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio


def version_of(producer: TransactionalProducer) -> int:
    engine = producer._engine_or_none
    assert engine is not None
    assert engine.transactor is not None
    return engine.transactor.version


@pytest.mark.parametrize("drops", [False, True], ids=["on the same connection", "after a lost connection"])
async def test_the_next_transaction_is_of_the_new_version_and_under_a_new_epoch(drops: bool) -> None:
    options: dict[str, Any] = {} if drops else {"metadata_max_age": 0.001}
    async with transactional(1, **options) as (fake, producer):
        async with producer.transaction():
            await producer.send(TOPIC, b"1")
        fake.set_transaction_version(2)
        async with producer.transaction():
            await producer.send(TOPIC, b"2")
            if drops:
                fake.drop_connections()
        async with producer.transaction():
            await producer.send(TOPIC, b"3")
        async with producer.transaction():
            await producer.send(TOPIC, b"4")
        assert version_of(producer) == 2
        assert committed(fake) == [b"1", b"2", b"3", b"4"]
        of = epochs(fake)
        assert of[b"1"] < of[b"3"] < of[b"4"]
        produced = [request.version for request in fake.received if request.api == "Produce"]
        assert produced[0] == 11
        assert produced[-1] == 13


async def test_who_has_the_newest_transactions_asks_no_more() -> None:
    async with transactional(2, metadata_max_age=0.001) as (fake, producer):
        before = fake.requests["ApiVersions"]
        for _ in range(3):
            async with producer.transaction():
                await producer.send(TOPIC, b"x")
        assert fake.requests["ApiVersions"] == before


@pytest.fixture(scope="module")
def first_version() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(transaction_version=1)
    with cluster.sync:
        yield cluster


@pytest.mark.kafka
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_kafka_is_upgraded_under_a_running_producer(first_version: KafkaCluster) -> None:
    kafka = first_version
    await kafka.create_topic(TOPIC, 3)
    values = [b"%d" % number for number in range(6)]
    async with TransactionalProducer(
        kafka.bootstrap, transactional_id="upgraded", metadata_max_age=0.1
    ) as producer:
        async with producer.transaction():
            await producer.send(TOPIC, values[0])
        assert version_of(producer) == 1
        distribution = kafka.sync._distribution
        assert distribution is not None
        change = ["upgrade", "--feature", "transaction.version=2"]
        command = "org.apache.kafka.tools.FeatureCommand"
        await anyio.to_thread.run_sync(
            run_tool, distribution, command, ["--bootstrap-server", kafka.bootstrap, *change]
        )
        for value in values[1:]:
            async with producer.transaction():
                await producer.send(TOPIC, value)
        assert version_of(producer) == 2
    read = await kafka.read(TOPIC, isolation="read_committed")
    assert sorted(record.value or b"" for record in read) == values

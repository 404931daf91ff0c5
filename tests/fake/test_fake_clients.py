"""Clients that know nothing of krafka write to the fake cluster through its ports, as they do to Kafka."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiokafka  # type: ignore[import-untyped]  # it has no types
import anyio
import anyio.to_thread
import confluent_kafka
import pytest

from krafka import NotLeaderOrFollowerError, Producer
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {}), id="asyncio")])


async def test_krafka_itself() -> None:
    async with FakeCluster(2, ports=True) as cluster:
        cluster.create_topic("t", 2)
        async with Producer(cluster.bootstrap) as producer:
            for partition in (0, 1):
                assert (await producer.send("t", b"v", partition=partition)).offset == 0
            ports = cluster.bootstrap
            cluster.stop_broker(2)
            assert (await producer.send("t", b"w", partition=1)).offset == 1
            cluster.start_broker(2)
            cluster.move_leader("t", 1, to=2)
            assert (await producer.send("t", b"x", partition=1)).offset == 2
            assert cluster.bootstrap == ports


# -- aiokafka ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def aiokafka_producer(cluster: FakeCluster, **options: Any) -> AsyncIterator[Any]:
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, retry_backoff_ms=10, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@ON_ASYNCIO
async def test_aiokafka_keeps_order_through_faults() -> None:
    async with FakeCluster(2, ports=True) as cluster:
        cluster.create_topic("t", 2)
        cluster.fail("Produce", code=NotLeaderOrFollowerError, times=2)
        cluster.fail("Produce", skip=2, disconnect=True, after_append=True)
        options = {"enable_idempotence": True, "compression_type": "lz4"}
        async with aiokafka_producer(cluster, **options) as producer:
            sent = [await producer.send("t", b"%d" % number, partition=number % 2) for number in range(200)]
            for each in sent:
                await each
        for partition in (0, 1):
            values = [int(record.value or b"") for record in cluster.log("t", partition)]
            assert values == list(range(partition, 200, 2))
        assert {record.compression for record in cluster.log("t")} == {"lz4"}


@ON_ASYNCIO
async def test_aiokafka_makes_transactions() -> None:
    async with FakeCluster(2, ports=True) as cluster:
        cluster.create_topic("t", 2)
        async with aiokafka_producer(cluster, transactional_id="a") as producer:
            async with producer.transaction():
                await producer.send("t", b"kept", partition=0)
                offsets = aiokafka_offsets({("t", 1): 4})
                await producer.send_offsets_to_transaction(offsets, "g")
            await producer.begin_transaction()
            await producer.send_and_wait("t", b"lost", partition=1)
            await producer.abort_transaction()
        assert [record.value for record in cluster.log("t")] == [b"kept", b"lost"]
        assert [record.value for record in cluster.log("t", committed=True)] == [b"kept"]
        assert cluster.committed_offsets("g") == {("t", 1): 4}


def aiokafka_offsets(offsets: dict[tuple[str, int], int]) -> dict[Any, int]:
    return {aiokafka.TopicPartition(*name): offset for name, offset in offsets.items()}


# -- librdkafka --------------------------------------------------------------------------------------------------------

QUIET = {"log_level": 0, "retry.backoff.ms": 10}


def write_with_librdkafka(bootstrap: str) -> dict[int, list[tuple[object, int | None]]]:
    """Send 200 records; gives the error and offset of each, by partition."""
    reports: dict[int, list[tuple[object, int | None]]] = defaultdict(list)

    def report(error: Any, message: Any) -> None:
        reports[message.partition()].append((error, message.offset()))

    producer = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "zstd", **QUIET}
    )
    for number in range(200):
        producer.produce("t", b"%d" % number, partition=number % 2, on_delivery=report)
    assert producer.flush(20) == 0
    return reports


async def test_librdkafka_keeps_order_through_faults() -> None:
    async with FakeCluster(2, ports=True) as cluster:
        cluster.create_topic("t", 2)
        cluster.fail("Produce", topic="t", partition=0, code=NotLeaderOrFollowerError, times=2)
        cluster.fail("Produce", topic="t", partition=1, disconnect=True, after_append=True)
        reports = await anyio.to_thread.run_sync(write_with_librdkafka, cluster.bootstrap)
        for partition in (0, 1):
            log = cluster.log("t", partition)
            assert [int(record.value or b"") for record in log] == list(range(partition, 200, 2))
            assert reports[partition] == [(None, record.offset) for record in log]


def transact_with_librdkafka(bootstrap: str) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "transactional.id": "r", **QUIET})
    producer.init_transactions(20)
    for name, end in (
        ("kept", producer.commit_transaction),
        ("lost", producer.abort_transaction),
        ("last", producer.commit_transaction),
    ):
        producer.begin_transaction()
        for number in range(10):
            producer.produce("t", f"{name} {number}".encode(), partition=number % 2)
        producer.flush(20)
        end(20)


async def test_librdkafka_makes_transactions() -> None:
    async with FakeCluster(2, ports=True) as cluster:
        cluster.create_topic("t", 2)
        cluster.fail("EndTxn", code=51, times=2)
        await anyio.to_thread.run_sync(transact_with_librdkafka, cluster.bootstrap)
        values = [record.value or b"" for record in cluster.log("t", 0, committed=True)]
        assert values == [
            b"%s %d" % (name, number) for name in (b"kept", b"last") for number in range(0, 10, 2)
        ]
        assert len(cluster.log("t")) == 30
        for partition in (0, 1):
            assert [marker.commit for marker in cluster.markers("t", partition)] == [True, False, True]

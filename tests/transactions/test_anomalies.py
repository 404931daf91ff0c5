"""Requests that arrive late, in the next transaction of the same producer: what they do, and that krafka's do nothing.

Jepsen's analysis of Bufstream 0.1.0 showed it (KAFKA-17754): in the first protocol of transactions an EndTxn says which
producer means it, and not which of its transactions. Here each such request is held back while its connection breaks,
repeated by the client as any would, and delivered in the midst of the next transaction.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import confluent_kafka
import pytest

from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.produce import ProduceRequest
from krafka._wire.txn_offset_commit import TxnOffsetCommitRequest
from krafka.testing import KafkaCluster

from .proxy import Proxy
from .raw import RawProducer
from .readers import settled_ends

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

SECONDS = 60.0
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture(scope="module")
def first_protocol() -> Iterator[KafkaCluster]:
    """A broker that speaks the first protocol of transactions only."""
    kafka = KafkaCluster(transaction_version=1)
    with kafka.sync:
        yield kafka


async def committed(kafka: KafkaCluster, topic: str) -> list[bytes | None]:
    """What readers of committed records get, once nothing is open any more."""
    ends = await settled_ends(kafka, [topic])
    assert all(end.last_stable_offset == end.high_watermark for end in ends)
    return [record.value for record in await kafka.read(topic, isolation="read_committed")]


async def committed_offset(kafka: KafkaCluster, group: str, topic: str) -> int:
    """A group's offset in partition 0."""

    def ask() -> int:
        consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
        try:
            (found,) = consumer.committed([confluent_kafka.TopicPartition(topic, 0)], SECONDS)
        finally:
            consumer.close()
        return int(found.offset)

    return await anyio.to_thread.run_sync(ask)


@asynccontextmanager
async def proxied(kafka: KafkaCluster, topic: str) -> AsyncGenerator[Proxy]:
    """A proxy, and a topic of two partitions."""
    await kafka.create_topic(topic, partitions=2)
    async with Proxy(kafka.bootstrap).running() as proxy:
        yield proxy


# -- a producer that does nothing about it ---------------------------------------------------------------------------


@ASYNCIO
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_a_late_end_ends_the_next_transaction(first_protocol: KafkaCluster, commit: bool) -> None:
    """The late request is a commit, and an aborted record is read; or an abort, and a committed one is lost."""
    topic = f"late-end-{commit}"
    async with proxied(first_protocol, topic) as proxy:
        producer = RawProducer(proxy.bootstrap, topic)
        await producer.init()
        await producer.write(topic, 0, b"first")
        held = proxy.catch(EndTxnRequest)
        await producer.end(commit=commit)
        await held.wait()
        await producer.write(topic, 0, b"second, one")
        assert (await held.deliver()).error_code == 0
        await producer.write(topic, 1, b"second, two")
        await producer.end(commit=not commit)
    expected = [b"first", b"second, one"] if commit else [b"second, two"]
    assert await committed(first_protocol, topic) == expected


@ASYNCIO
async def test_a_late_record_takes_the_place_of_the_next(first_protocol: KafkaCluster) -> None:
    """The record of an aborted transaction is read, and one of a committed transaction is lost."""
    topic = "late-record"
    async with proxied(first_protocol, topic) as proxy:
        producer = RawProducer(proxy.bootstrap, topic)
        await producer.init()
        held = proxy.catch(ProduceRequest)
        await producer.write_in_vain(topic, 0, b"first")
        await held.wait()
        await producer.end(commit=False)
        await producer.add(topic, 0)
        assert (await held.deliver()).responses[0].partition_responses[0].error_code == 0
        await producer.write(topic, 0, b"second")
        await producer.end(commit=True)
    assert await committed(first_protocol, topic) == [b"first"]


@ASYNCIO
async def test_a_late_offset_takes_the_place_of_the_next(first_protocol: KafkaCluster) -> None:
    """The group goes back to where it was a transaction ago, and its records are processed twice."""
    topic = "late-offset"
    async with proxied(first_protocol, topic) as proxy:
        producer = RawProducer(proxy.bootstrap, topic)
        await producer.init()
        held = proxy.catch(TxnOffsetCommitRequest)
        await producer.commit_offset(topic, topic, 5)
        await held.wait()
        await producer.end(commit=True)
        await producer.commit_offset(topic, topic, 9)
        assert (await held.deliver()).topics[0].partitions[0].error_code == 0
        await producer.end(commit=True)
    assert await committed_offset(first_protocol, topic, topic) == 5


@ASYNCIO
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_it_happens_to_a_client_in_use(first_protocol: KafkaCluster, commit: bool) -> None:
    """The same by confluent-kafka, which shows that it is not our hand-written requests that are odd."""
    topic = f"late-end-confluent-{commit}"
    async with proxied(first_protocol, topic) as proxy:
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": proxy.bootstrap, "transactional.id": topic, "linger.ms": 0, "log_level": 0}
        )

        async def write(value: bytes, partition: int) -> None:
            producer.produce(topic, value, partition=partition)
            assert await anyio.to_thread.run_sync(producer.flush, SECONDS) == 0

        async def end(commit: bool) -> None:
            call = producer.commit_transaction if commit else producer.abort_transaction
            await anyio.to_thread.run_sync(call, SECONDS)

        await anyio.to_thread.run_sync(producer.init_transactions, SECONDS)
        producer.begin_transaction()
        await write(b"first", 0)
        held = proxy.catch(EndTxnRequest)
        await end(commit)
        await held.wait()
        producer.begin_transaction()
        await write(b"second, one", 0)
        assert (await held.deliver()).error_code == 0
        await write(b"second, two", 1)
        await end(not commit)
    expected = [b"first", b"second, one"] if commit else [b"second, two"]
    assert await committed(first_protocol, topic) == expected

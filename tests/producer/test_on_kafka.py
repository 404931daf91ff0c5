"""The producer against a real Kafka: what it reported is what another client reads."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka import Producer, ProducerRecord, RecordMetadata, RecordTooLargeError, RecordValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from krafka.testing import ConsumedRecord, KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def resident_mib() -> float:
    """Memory this process holds now, in MiB."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return pages * resource.getpagesize() / 2**20


def by_place(records: list[ConsumedRecord]) -> dict[tuple[int, int], ConsumedRecord]:
    return {(record.partition, record.offset): record for record in records}


async def test_what_is_reported_is_what_lies_there(kafka: KafkaCluster, kafka_topic: str) -> None:
    moment = datetime(2024, 2, 29, 12, 30, 15, 250_000, tzinfo=UTC)
    cases: list[dict[str, Any]] = [
        {"value": b"plain"},
        {"value": b""},
        {"value": None, "key": b"tombstone"},
        {"value": b"empty key", "key": b""},
        {"value": bytearray(b"bytearray"), "key": memoryview(b"view")},
        {"value": "snowman ☃ and 💥".encode(), "headers": [("a", b"1"), ("a", None), ("ü", b"")]},
        {"value": b"mapping", "headers": {"trace": b"abc"}},
        {"value": b"many", "headers": [(f"h{i}", bytes([i])) for i in range(30)]},
        {"value": b"explicit", "partition": 4},
        {"value": b"dated", "timestamp": moment},
        {"value": b"old", "timestamp": 1},
    ]
    async with Producer(kafka.bootstrap) as producer:
        before = int(time.time() * 1000)
        placed = [await producer.send(kafka_topic, **case) for case in cases]
        after = int(time.time() * 1000)
    lying = by_place(await kafka.read(kafka_topic))
    assert len(lying) == len(cases)
    for case, metadata in zip(cases, placed, strict=True):
        record = lying[metadata.partition, metadata.offset]
        value, key = case["value"], case.get("key")
        assert record.value == (None if value is None else bytes(value))
        assert record.key == (None if key is None else bytes(key))
        headers = case.get("headers", [])
        assert record.headers == tuple(headers.items() if isinstance(headers, dict) else headers)
        assert record.timestamp == metadata.timestamp
        if "timestamp" not in case:
            assert before - 20 <= record.timestamp <= after + 20
    assert placed[8].partition == 4
    assert placed[9].timestamp == 1709209815250
    assert placed[10].timestamp == 1


@pytest.mark.parametrize("codec", CODECS)
async def test_codecs_keep_every_byte(kafka: KafkaCluster, kafka_topic: str, codec: Any) -> None:
    values = [(b"%d " % i) * (i % 400) for i in range(2000)]
    async with Producer(kafka.bootstrap, compression=codec, batch_size=200_000, linger=0.01) as producer:
        result = await producer.send_many(kafka_topic, values)
    result.raise_for_errors()
    lying = by_place(await kafka.read(kafka_topic))
    assert len(lying) == len(values)
    for value, metadata in zip(values, result, strict=True):
        assert lying[metadata.partition, metadata.offset].value == value


async def test_kafkas_own_log_reader_accepts_the_batches(kafka: KafkaCluster, kafka_topic: str) -> None:
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        async with Producer(kafka.bootstrap, compression=codec, linger=0.02, batch_size=100_000) as producer:
            deliveries = [
                await producer.enqueue(
                    kafka_topic, b"v" * 500, key=b"k%d" % i, partition=0, timestamp=5000 - i
                )
                for i in range(150)
            ]
            await producer.flush()
            assert all(delivery.done and delivery.exception is None for delivery in deliveries)
    dump = await kafka.dump_log(kafka_topic, 0)
    assert dump.count("isvalid: true") >= 5
    assert "isvalid: false" not in dump
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        assert f"compresscodec: {codec}" in dump
    assert dump.count("payload: vvv") == 750


async def test_acknowledgement_levels(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with Producer(kafka.bootstrap, acks="leader") as producer:
        assert not producer.config.idempotent
        somewhere = await producer.send(kafka_topic, b"leader", partition=0)
        assert somewhere.offset == 0
    async with Producer(kafka.bootstrap, acks="none") as producer:
        nowhere = await producer.send(kafka_topic, b"none", partition=0)
        assert nowhere == RecordMetadata(kafka_topic, 0, -1, nowhere.timestamp)
    # Leaving the block waited until the broker had taken what it does not acknowledge.
    assert [record.value for record in await kafka.read(kafka_topic)] == [b"leader", b"none"]


async def test_ten_thousand_awaited_sends_from_a_hundred_tasks(kafka: KafkaCluster, kafka_topic: str) -> None:
    placed: dict[int, list[RecordMetadata]] = defaultdict(list)

    async def send_hundred(task: int, producer: Producer) -> None:
        for number in range(100):
            metadata = await producer.send(kafka_topic, b"%d %d" % (task, number), key=b"task %d" % task)
            placed[task].append(metadata)

    async with Producer(kafka.bootstrap) as producer, anyio.create_task_group() as tasks:
        for task in range(100):
            tasks.start_soon(send_hundred, task, producer)
    lying = await kafka.read(kafka_topic)
    assert len(lying) == 10_000
    places = by_place(lying)
    for task, metadatas in placed.items():
        assert len({metadata.partition for metadata in metadatas}) == 1
        offsets = [metadata.offset for metadata in metadatas]
        assert offsets == sorted(set(offsets))
        for number, metadata in enumerate(metadatas):
            assert places[metadata.partition, metadata.offset].value == b"%d %d" % (task, number)


async def test_send_many_of_a_million_keeps_order_and_memory(kafka: KafkaCluster, kafka_topic: str) -> None:
    total = 1_000_000

    def values() -> Iterator[bytes]:
        for number in range(total):
            yield b"%08d" % number

    async with Producer(kafka.bootstrap) as producer:
        await producer.partitions_for(kafka_topic)
        before = resident_mib()
        result = await producer.send_many(kafka_topic, values())
        grown = resident_mib() - before
    assert len(result) == total
    assert result.failed == []
    # 32 MiB of buffer, 8 bytes a record for the result, and what the allocator keeps of them.
    assert grown < 32 + 32
    assert sum((await kafka.end_offsets(kafka_topic)).values()) == total
    nexts = dict.fromkeys(range(6), 0)
    for metadata in result:
        assert metadata.offset == nexts[metadata.partition]
        nexts[metadata.partition] += 1
    for record in await kafka.read(kafka_topic, partition=3):
        assert record.value == b"%08d" % (record.offset * 6 + 3)


async def test_enqueue_in_a_loop_keeps_order_and_memory(kafka: KafkaCluster, kafka_topic: str) -> None:
    total = 200_000
    async with Producer(kafka.bootstrap, buffer_memory=4 * 2**20) as producer:
        await producer.partitions_for(kafka_topic)
        before = resident_mib()
        for number in range(total):
            last = await producer.enqueue(kafka_topic, b"%08d" % number + b"x" * 92, partition=number % 6)
        await producer.flush()
        assert last.done
        assert resident_mib() - before < 4 + 32
    assert sum((await kafka.end_offsets(kafka_topic)).values()) == total
    for record in await kafka.read(kafka_topic, partition=2):
        assert record.value is not None
        assert record.value[:8] == b"%08d" % (record.offset * 6 + 2)


async def test_send_many_of_records_sync_and_async(kafka: KafkaCluster, kafka_topic: str) -> None:
    async def trickle() -> AsyncIterator[ProducerRecord]:
        for number in range(50):
            yield ProducerRecord(kafka_topic, b"async %d" % number, partition=1)
            await anyio.lowlevel.checkpoint()

    async def bare() -> AsyncIterator[bytes]:
        for number in range(50):
            yield b"bare %d" % number

    async with Producer(kafka.bootstrap) as producer:
        first = await producer.send_many(
            ProducerRecord(kafka_topic, b"%d" % n, key=b"k", partition=0) for n in range(50)
        )
        second = await producer.send_many(trickle())
        third = await producer.send_many(kafka_topic, bare())
    assert [metadata.offset for metadata in first] == list(range(50))
    assert [metadata.offset for metadata in second] == list(range(50))
    assert len(third) == 50
    assert third.failed == []
    lying = await kafka.read(kafka_topic)
    assert len(lying) == 150


async def test_one_bad_record_fails_alone(kafka: KafkaCluster, kafka_topic: str) -> None:
    values: list[Any] = [b"good", "bad", b"x" * 2_000_000, b"good too", None]
    async with Producer(kafka.bootstrap) as producer:
        result = await producer.send_many(kafka_topic, values)
    assert [index for index, _ in result.failed] == [1, 2]
    assert isinstance(result.failed[0][1], RecordValidationError)
    assert "str" in str(result.failed[0][1])
    assert isinstance(result.failed[1][1], RecordTooLargeError)
    with pytest.raises(RecordTooLargeError, match="max_request_size is 1048576"):
        _ = result[2]
    assert {record.value for record in await kafka.read(kafka_topic)} == {b"good", b"good too", None}


async def test_a_large_record_goes_when_the_limits_allow(kafka: KafkaCluster, kafka_topic: str) -> None:
    value = b"y" * 900_000
    async with Producer(kafka.bootstrap) as producer:
        metadata = await producer.send(kafka_topic, value)
    [record] = await kafka.read(kafka_topic)
    assert (record.partition, record.offset, record.value) == (metadata.partition, metadata.offset, value)


async def test_the_broker_refuses_what_is_too_large_for_the_topic(kafka: KafkaCluster) -> None:
    await kafka.create_topic("small-messages", partitions=1, config={"max.message.bytes": "2000"})
    try:
        async with Producer(kafka.bootstrap) as producer:
            from krafka import MessageTooLargeError

            with pytest.raises(MessageTooLargeError, match="small-messages-0") as caught:
                await producer.send("small-messages", b"z" * 5000)
            assert not caught.value.possibly_written
            # The gap in the numbering heals: what follows is taken.
            assert (await producer.send("small-messages", b"fits")).offset == 0
            assert (await producer.send("small-messages", b"fits too")).offset == 1
    finally:
        await kafka.delete_topic("small-messages")


async def test_a_topic_created_while_a_send_waits(kafka: KafkaCluster) -> None:
    async with Producer(kafka.bootstrap, allow_auto_create_topics=False) as producer:
        placed: list[RecordMetadata] = []

        async def send() -> None:
            placed.append(await producer.send("created-late", b"early bird"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.sleep(0.3)
            assert not placed
            await kafka.create_topic("created-late", partitions=1)
        assert placed[0].offset == 0
    await kafka.delete_topic("created-late")


async def test_a_missing_topic_is_created_where_the_cluster_allows(kafka: KafkaCluster) -> None:
    async with Producer(kafka.bootstrap) as producer:
        metadata = await producer.send("auto-created", b"first")
        assert metadata.offset == 0
        assert len(await producer.partitions_for("auto-created")) == 6
    await kafka.delete_topic("auto-created")


async def test_linger_gathers_and_a_flush_does_not_wait_for_it(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with Producer(kafka.bootstrap, linger=30.0) as producer:
        await producer.partitions_for(kafka_topic)
        deliveries = [producer.enqueue_nowait(kafka_topic, b"%d" % n, partition=0) for n in range(100)]
        await anyio.sleep(0.1)
        assert not any(delivery.done for delivery in deliveries)
        with anyio.fail_after(60):
            await producer.flush()
        assert [(await delivery).offset for delivery in deliveries] == list(range(100))

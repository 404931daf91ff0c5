"""A producer some of whose topics have a codec, a batch size or a partitioner of their own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from faulty import TOPIC, faulty, numbered, numbers

from krafka import Compression, ProducerRecord, RoundRobinPartitioner, StickyPartitioner, TopicConfig
from krafka.compression import bytes_in_a_moment

if TYPE_CHECKING:
    from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio

CODECS = [codec.value for codec in Compression]
BY_CODEC = {codec: TopicConfig(compression=codec) for codec in Compression}
"""A topic for each codec, called by its name."""


def largest_batch(cluster: FakeCluster, topic: str) -> int:
    """How many records the largest batch of a topic's first partition has."""
    batches = [record.batch for record in cluster.log(topic, 0)]
    return max(batches.count(batch) for batch in set(batches))


def random_values(count: int, size: int) -> list[bytes]:
    """Values that no codec makes smaller, each with its number in front."""
    source = random.Random(7)
    return [b"%d:" % number + source.randbytes(size) for number in range(count)]


async def test_one_request_carries_batches_of_every_codec() -> None:
    async with faulty(compression="gzip", topics={**BY_CODEC}) as (cluster, producer):
        for codec in CODECS:
            cluster.create_topic(codec, 1)
            await producer.partitions_for(codec)
        before = cluster.requests["Produce"]
        deliveries = [
            producer.enqueue_nowait(topic, value)
            for value in numbered(range(20))
            for topic in (*CODECS, TOPIC)
        ]
        for delivery in deliveries:
            await delivery
        assert cluster.requests["Produce"] == before + 1
    for topic, codec in {**dict(zip(CODECS, CODECS, strict=True)), TOPIC: "gzip"}.items():
        assert numbers(cluster.log(topic)) == list(range(20))
        assert {record.compression for record in cluster.log(topic)} == {codec}


@pytest.mark.parametrize("codec", CODECS)
async def test_batches_too_large_for_their_topic_are_divided_with_its_codec(codec: str) -> None:
    async with faulty(compression="zstd", topics=BY_CODEC, linger=0.001) as (cluster, producer):
        cluster.create_topic(codec, 1, config={"max.message.bytes": "3000"})
        values = random_values(100, 200)
        result = await producer.send_many(codec, values)
        assert [metadata.offset for metadata in result] == list(range(100))
    log = cluster.log(codec)
    assert [record.value for record in log] == values
    assert {record.compression for record in log} == {codec}
    assert len({record.batch for record in log}) >= 7


@pytest.mark.parametrize("level", [1, 19])
async def test_batches_of_one_topic_grow_and_those_of_another_do_not(level: int) -> None:
    logs = TopicConfig(compression="zstd", compression_level=level)
    async with faulty(batch_size=2000, topics={"logs": logs}, linger=0.001) as (cluster, producer):
        cluster.create_topic("logs", 1)
        for topic in ("logs", TOPIC):
            for _ in range(3):
                (await producer.send_many(topic, numbered(range(1000)))).raise_for_errors()
    assert largest_batch(cluster, TOPIC) <= 2000 // 58
    if level == 1:
        assert largest_batch(cluster, "logs") > 2 * (2000 // 58)
    for topic in ("logs", TOPIC):
        assert numbers(cluster.log(topic)) == [*range(1000)] * 3


@pytest.mark.parametrize("size", [1, 700, 9000])
async def test_a_batch_size_of_a_topics_own_may_be_smaller_or_larger(size: int) -> None:
    topics = {"logs": TopicConfig(batch_size=size)}
    async with faulty(batch_size=2000, topics=topics, linger=0.01) as (cluster, producer):
        cluster.create_topic("logs", 1)
        for topic in ("logs", TOPIC):
            (await producer.send_many(topic, [bytes(50)] * 1000)).raise_for_errors()
    assert largest_batch(cluster, TOPIC) == (2000 - 61) // 57
    # A record takes 57 bytes, and one more from the 64th of a batch on.
    assert max(1, (size - 61) // 58) <= largest_batch(cluster, "logs") <= max(1, (size - 61) // 57)


async def test_a_batch_size_of_its_own_never_exceeds_a_request() -> None:
    topics = {"logs": TopicConfig(batch_size=1 << 20)}
    async with faulty(max_request_size=3000, topics=topics, linger=0.01) as (cluster, producer):
        cluster.create_topic("logs", 1)
        (await producer.send_many("logs", [bytes(50)] * 1000)).raise_for_errors()
    assert largest_batch(cluster, "logs") == (3000 - 61) // 57


async def test_a_batch_size_of_its_own_is_what_is_left_of_a_batch_once_compressed() -> None:
    topics = {"logs": TopicConfig(compression="lz4", batch_size=1000)}
    async with faulty(batch_size=60_000, topics=topics, linger=0.01) as (cluster, producer):
        cluster.create_topic("logs", 1)
        for _ in range(5):
            (await producer.send_many("logs", [bytes(50)] * 1000)).raise_for_errors()
        assert 1000 // 57 < largest_batch(cluster, "logs") < 1000


async def test_a_partitioner_of_a_topics_own() -> None:
    topics = {"logs": TopicConfig(partitioner=RoundRobinPartitioner())}
    async with faulty(partitions=4, partitioner=StickyPartitioner(1000), topics=topics) as (
        cluster,
        producer,
    ):
        cluster.create_topic("logs", 4)
        records = [ProducerRecord(topic, b"v", key=b"k") for topic in ("logs", TOPIC) for _ in range(8)]
        result = await producer.send_many(records)
        placed = [metadata.partition for metadata in result]
    assert placed[:8] == [0, 1, 2, 3] * 2
    assert len(set(placed[8:])) == 1


async def test_a_topic_made_anew_keeps_its_own_ways() -> None:
    topics = {"logs": TopicConfig(compression="gzip", batch_size=200)}
    async with faulty(topics=topics, metadata_max_age=0.02, linger=0.005) as (cluster, producer):
        cluster.create_topic("logs", 1)
        (await producer.send_many("logs", numbered(range(50)))).raise_for_errors()
        cluster.delete_topic("logs")
        cluster.create_topic("logs", 2)
        while not cluster.log("logs", 1):
            (await producer.send_many("logs", numbered(range(50)))).raise_for_errors()
    for partition in range(2):
        log = cluster.log("logs", partition)
        assert log
        assert {record.compression for record in log} == {"gzip"}
    assert largest_batch(cluster, "logs") <= 20


async def test_threads_compress_each_topics_batches_with_its_own_codec() -> None:
    topics = {
        "gzip": TopicConfig(compression="gzip", compression_level=9),
        "zstd": TopicConfig(compression="zstd", compression_level=19),
    }
    values = [value + b" " * 2000 for value in numbered(range(300))]
    async with faulty(topics=topics, linger=0.001) as (cluster, producer):
        for topic, config in topics.items():
            cluster.create_topic(topic, 1)
            assert len(values[0]) * 10 > bytes_in_a_moment(Compression(topic), config.compression_level)
        for topic in (*topics, TOPIC):
            (await producer.send_many(topic, values)).raise_for_errors()
    for topic in (*topics, TOPIC):
        assert [record.value for record in cluster.log(topic)] == values
        assert {record.compression for record in cluster.log(topic)} == {topic if topic in topics else "none"}
        assert largest_batch(cluster, topic) >= 10

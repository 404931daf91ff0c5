"""A consumer's place in its group, as krafka takes it from the consumer and as the broker knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka.admin import AdminClient

from krafka import ConsumerGroupMetadata

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

SECONDS = 120.0


async def members(kafka: KafkaCluster, group_id: str) -> set[tuple[str, str | None]]:
    """The ids and instance ids of a group's members, as the broker tells them."""

    def ask() -> Any:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        return admin.describe_consumer_groups([group_id])[group_id].result(SECONDS)

    described = await anyio.to_thread.run_sync(ask)
    return {(member.member_id, member.group_instance_id or None) for member in described.members}


@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})]
)
@pytest.mark.parametrize("instance_id", [None, "instance-1"])
async def test_of_aiokafka(kafka: KafkaCluster, kafka_topic: str, instance_id: str | None) -> None:
    consumer = AIOKafkaConsumer(
        kafka_topic,
        bootstrap_servers=kafka.bootstrap,
        group_id=kafka_topic,
        group_instance_id=instance_id,
        client_id="tests",
    )
    with anyio.fail_after(SECONDS):
        await consumer.start()
        try:
            place = ConsumerGroupMetadata.of(consumer)
            assert place.is_member
            assert (place.group_id, place.generation_id) == (kafka_topic, 1)
            assert await members(kafka, kafka_topic) == {(place.member_id, instance_id)}
        finally:
            await consumer.stop()
    assert not ConsumerGroupMetadata.of(consumer).is_member or instance_id is not None


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("instance_id", [None, "instance-1"])
def test_of_confluent(kafka: KafkaCluster, kafka_topic: str, instance_id: str | None, protocol: str) -> None:
    settings = {} if instance_id is None else {"group.instance.id": instance_id}
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": kafka_topic,
            "group.protocol": protocol,
            "log_level": 0,
            **settings,
        }
    )
    joined: list[Any] = []
    consumer.subscribe([kafka_topic], on_assign=lambda _consumer, partitions: joined.append(partitions))
    for _ in range(int(SECONDS)):
        consumer.poll(1.0)
        if joined:
            break
    place = ConsumerGroupMetadata.of(consumer)
    known = anyio.run(members, kafka, kafka_topic)
    consumer.close()
    assert place.is_member
    assert place.group_id == kafka_topic
    assert place.generation_id >= 1
    assert known == {(place.member_id, instance_id)}

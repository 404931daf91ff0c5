"""Serializers as a producer's options: what another client reads from a real Kafka, and what a failure costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

import krafka
from krafka.errors import SchemaRegistryError
from krafka.serializers import IntegerSerializer, JSONSerializer, StringSerializer
from krafka.serializers.schema_registry import AvroSerializer, SchemaRegistry

from .fake_registry import FakeRegistry, refusal

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]}


async def test_text_numbers_and_json(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with krafka.Producer(
        kafka.bootstrap, key_serializer=IntegerSerializer(), value_serializer=JSONSerializer()
    ) as producer:
        await producer.send(kafka_topic, {"what": "caf\u00e9"}, key=7)
        await producer.send(kafka_topic, None, key=8)
        await producer.send(kafka_topic, [1])
    lying = {(record.key, record.value) for record in await kafka.read(kafka_topic)}
    assert lying == {
        (b"\x00\x00\x00\x07", '{"what":"caf\u00e9"}'.encode()),
        (b"\x00\x00\x00\x08", None),
        (None, b"[1]"),
    }


async def test_avro_is_what_a_consumer_of_confluents_reads(
    kafka: KafkaCluster, kafka_topic: str, fake: FakeRegistry
) -> None:
    registry = SchemaRegistry(fake.url)
    values = AvroSerializer(registry, ORDER)
    keys = AvroSerializer(registry, '"string"', field="key")
    async with krafka.Producer(kafka.bootstrap, key_serializer=keys, value_serializer=values) as producer:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(lambda number: producer.send(kafka_topic, {"id": number}, key="k"), number)
        result = await producer.send_many(kafka_topic, [{"id": 20}, {"id": "x"}, None])
        assert [index for index, _ in result.failed] == [1]
        assert "does not fit its Avro schema" in str(result.failed[0][1])
    assert len(fake.asked) == 2
    with SchemaRegistryClient({"url": fake.url}) as client:
        read = AvroDeserializer(client, conf={"subject.name.strategy.type": "TOPIC"})
        context = SerializationContext(kafka_topic, MessageField.VALUE)
        found = [
            read(record.value, context) if record.value is not None else None
            for record in await kafka.read(kafka_topic)
        ]
    assert sorted(each["id"] for each in found if each is not None) == list(range(21))
    assert found.count(None) == 1


async def test_enqueue_nowait_needs_a_schema_that_is_known(
    kafka: KafkaCluster, kafka_topic: str, fake: FakeRegistry
) -> None:
    values = AvroSerializer(SchemaRegistry(fake.url), ORDER)
    async with krafka.Producer(kafka.bootstrap, value_serializer=values) as producer:
        await producer.partitions_for(kafka_topic)
        with pytest.raises(krafka.ProducerStateError):
            producer.enqueue_nowait(kafka_topic, {"id": 1})
        assert fake.asked == []
        await values.prepare(kafka_topic)
        await producer.enqueue_nowait(kafka_topic, {"id": 1})
    assert len(await kafka.read(kafka_topic)) == 1


async def test_a_registry_that_fails_costs_the_record_alone(
    kafka: KafkaCluster, kafka_topic: str, fake: FakeRegistry
) -> None:
    registry = SchemaRegistry(fake.url, retries=0)
    serializer = AvroSerializer(registry, ORDER)
    async with krafka.Producer(kafka.bootstrap, value_serializer=serializer) as producer:
        for fault, retriable in ((refusal(503, 50003, "down"), True), (refusal(401, 401, "who?"), False)):
            fake.faults.append(fault)
            with pytest.raises(krafka.SerializationError) as caught:
                await producer.send(kafka_topic, {"id": 1})
            assert caught.value.is_retriable is retriable
            assert not caught.value.possibly_written
            assert isinstance(caught.value.__cause__, SchemaRegistryError)
            assert fake.url in str(caught.value)
        await producer.send(kafka_topic, {"id": 1})
    assert len(await kafka.read(kafka_topic)) == 1


async def test_one_callable_of_many_serializers(
    kafka: KafkaCluster, kafka_topic: str, fake: FakeRegistry
) -> None:
    by_type: dict[type, Any] = {
        str: StringSerializer(),
        dict: AvroSerializer(SchemaRegistry(fake.url), ORDER),
        type(None): lambda topic, value, headers: None,
    }

    def by_its_type(topic: str, value: object, headers: Any) -> Any:
        return by_type[type(value)](topic, value, headers)

    async with krafka.Producer(kafka.bootstrap, value_serializer=by_its_type) as producer:
        for value in ("tea", {"id": 1}, None):
            await producer.send(kafka_topic, value)
    assert {record.value for record in await kafka.read(kafka_topic)} == {
        b"tea",
        b"\x00\x00\x00\x00\x01\x02",
        None,
    }
    assert json.loads(fake.asked[0].body["schema"]) == ORDER

"""The same serializers with a real registry (Apicurio's Confluent interface), and Confluent's deserializers on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from krafka.errors import SchemaRegistryError
from krafka.serializers.schema_registry import (
    AvroSerializer,
    JSONSchemaSerializer,
    ProtobufSerializer,
    Schema,
    SchemaRegistry,
)

from . import apicurio
from .messages import ADDRESS_FILE, message_class

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

BY_TOPIC = {"subject.name.strategy.type": "TOPIC"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with apicurio.running(tmp_path_factory.mktemp("apicurio") / "log") as address:
        yield address


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic for each test and event loop: the registry is shared."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def order(*fields: str) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "Order",
        "namespace": "cafe",
        "fields": [{"name": name, "type": "long"} for name in fields],
    }


async def test_avro(url: str, topic: str) -> None:
    registry = SchemaRegistry(url)
    serializer = await AvroSerializer(registry, order("id")).prepare(topic)
    made: Any = serializer(topic, {"id": 5})
    latest = await registry.latest(f"{topic}-value")
    assert made == b"\x00" + latest.id.to_bytes(4) + b"\x0a"
    assert (await registry.schema(latest.id)).schema == latest.schema
    found: Any = await AvroSerializer(SchemaRegistry(url), order("id"), auto_register=False).prepare(topic)
    assert found(topic, {"id": 5}) == made
    assert latest.version == 1
    with SchemaRegistryClient({"url": url}) as client:
        judge = AvroDeserializer(client, conf=BY_TOPIC)
        context = SerializationContext(topic, MessageField.VALUE)
        assert await anyio.to_thread.run_sync(judge, made, context) == {"id": 5}


async def test_avro_with_a_reference(url: str, topic: str) -> None:
    registry = SchemaRegistry(url)
    line = Schema(json.dumps({**order("amount"), "name": "Line"}))
    subject = f"{topic}-line"
    await registry.register(subject, line)
    reference = (await registry.lookup(subject, line)).reference("cafe.Line")
    fields = [{"name": "line", "type": "cafe.Line"}]
    whole = Schema(json.dumps({**order(), "fields": fields}), references=(reference,))
    serializer = await AvroSerializer(registry, whole).prepare(topic)
    made: Any = serializer(topic, {"line": {"amount": 3}})
    assert made[5:] == b"\x06"
    latest: Any = await AvroSerializer(registry, use_latest_version=True).prepare(topic)
    assert latest(topic, {"line": {"amount": 3}}) == made


async def test_json_schema(url: str, topic: str) -> None:
    registry = SchemaRegistry(url)
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Order",
        "type": "object",
        "properties": {"id": {"type": "integer"}},
    }
    serializer = await JSONSchemaSerializer(registry, schema).prepare(topic)
    made: Any = serializer(topic, {"id": 5})
    latest: Any = await JSONSchemaSerializer(registry, use_latest_version=True).prepare(topic)
    assert latest(topic, {"id": 5}) == made
    with SchemaRegistryClient({"url": url}) as client:
        judge = JSONDeserializer(None, schema_registry_client=client, conf=BY_TOPIC)
        context = SerializationContext(topic, MessageField.VALUE)
        assert await anyio.to_thread.run_sync(judge, made, context) == {"id": 5}


async def test_protobuf(url: str, topic: str) -> None:
    registry = SchemaRegistry(url)
    kind: Any = message_class("cafe.Order")
    serializer: Any = await ProtobufSerializer(registry, kind).prepare(topic)
    message = kind(id=5, to={"street": "Graben 1"})
    made = serializer(topic, message)
    latest = await registry.latest(f"{topic}-value")
    assert latest.schema.type == "PROTOBUF"
    assert [each.name for each in latest.schema.references] == [ADDRESS_FILE]
    assert made[:5] == b"\x00" + latest.id.to_bytes(4)
    assert kind.FromString(made[6:]) == message


async def test_what_it_refuses_is_told_in_its_words(url: str, topic: str) -> None:
    registry = SchemaRegistry(url)
    with pytest.raises(SchemaRegistryError) as caught:
        await registry.latest(f"{topic}-none")
    assert (caught.value.status, caught.value.registry_code) == (404, 40401)
    with pytest.raises(SchemaRegistryError) as caught:
        await registry.register(f"{topic}-value", Schema('{"type":"recrod"}'))
    assert (caught.value.status, caught.value.registry_code) == (422, 42201)
    assert not caught.value.is_retriable
    assert caught.value.registry_message is not None
    with pytest.raises(SchemaRegistryError) as caught:
        await registry.schema(2**31 - 1)
    assert (caught.value.status, caught.value.registry_code) == (404, 40403)

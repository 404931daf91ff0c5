"""Confluent's own client is the judge: it reads what serializers wrote, and writes the same bytes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import fastavro
import pytest
from confluent_kafka.schema_registry import Schema as ConfluentSchema
from confluent_kafka.schema_registry import SchemaReference as ConfluentReference
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry import avro as confluent_avro
from confluent_kafka.schema_registry import json_schema as confluent_json
from confluent_kafka.schema_registry import protobuf as confluent_protobuf
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka.serializers.schema_registry import (
    AvroSerializer,
    JSONSchemaSerializer,
    ProtobufSerializer,
    Schema,
    SchemaReference,
    SchemaRegistry,
)

from .fake_registry import FakeRegistry
from .messages import message_class

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "orders"
CONTEXT = SerializationContext(TOPIC, MessageField.VALUE)
BY_TOPIC = {"subject.name.strategy.type": "TOPIC"}

LEVEL = {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}
EVERYTHING = {
    "type": "record",
    "name": "Everything",
    "namespace": "krafka.tests",
    "fields": [
        {"name": "flag", "type": "boolean"},
        {"name": "int", "type": "int"},
        {"name": "long", "type": "long"},
        {"name": "double", "type": "double"},
        {"name": "text", "type": "string"},
        {"name": "raw", "type": "bytes"},
        {"name": "level", "type": LEVEL},
        {"name": "maybe", "type": ["null", "long"]},
        {"name": "many", "type": {"type": "array", "items": "string"}},
        {"name": "by_name", "type": {"type": "map", "values": "int"}},
    ],
}
PARSED = fastavro.parse_schema(EVERYTHING)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
RECORDS = st.fixed_dictionaries(
    {
        "flag": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "double": st.floats(allow_nan=False),
        "text": TEXT,
        "raw": st.binary(),
        "level": st.sampled_from(["LOW", "HIGH"]),
        "maybe": st.none() | st.integers(-(2**63), 2**63 - 1),
        "many": st.lists(TEXT, max_size=4),
        "by_name": st.dictionaries(TEXT, st.integers(-(2**31), 2**31 - 1), max_size=4),
    }
)
OBJECT = {
    "title": "Everything",
    "type": "object",
    "properties": {"number": {"type": "number"}, "text": {"type": "string"}},
    "required": ["number"],
}
OBJECTS = st.fixed_dictionaries(
    {"number": st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)},
    optional={"text": TEXT, "more": st.lists(st.none() | st.booleans() | TEXT, max_size=4)},
)
VALUES = {
    "cafe.Address": st.fixed_dictionaries({"street": TEXT}),
    "cafe.Order": st.fixed_dictionaries(
        {
            "id": st.integers(-(2**63), 2**63 - 1),
            "lines": st.lists(TEXT, max_size=3),
            "to": st.fixed_dictionaries({"street": TEXT}),
        }
    ),
    "cafe.Customer": st.fixed_dictionaries({"name": TEXT}),
    "cafe.Customer.Contact": st.fixed_dictionaries({"mail": TEXT}),
    "cafe.Customer.Card": st.fixed_dictionaries({"number": TEXT}),
}
MESSAGES = sorted(VALUES)


class Both(NamedTuple):
    """One registry, and a client of each library for it."""

    ours: SchemaRegistry
    theirs: SchemaRegistryClient


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with FakeRegistry() as fake, SchemaRegistryClient({"url": fake.url}) as theirs:
        yield Both(SchemaRegistry(fake.url), theirs)


class Three(NamedTuple):
    """A serializer, Confluent's for the same schema, and Confluent's deserializer."""

    ours: Any
    theirs: Any
    judge: Any


@pytest.fixture(scope="module")
def avro(both: Both) -> Three:
    return Three(
        anyio.run(AvroSerializer(both.ours, EVERYTHING).prepare, TOPIC),
        confluent_avro.AvroSerializer(both.theirs, json.dumps(EVERYTHING), conf=BY_TOPIC),
        confluent_avro.AvroDeserializer(both.theirs, conf=BY_TOPIC),
    )


@pytest.fixture(scope="module")
def json_schema(both: Both) -> Three:
    return Three(
        anyio.run(JSONSchemaSerializer(both.ours, OBJECT).prepare, "objects"),
        confluent_json.JSONSerializer(json.dumps(OBJECT), both.theirs, conf=BY_TOPIC),
        confluent_json.JSONDeserializer(None, schema_registry_client=both.theirs, conf=BY_TOPIC),
    )


@pytest.fixture(scope="module", params=MESSAGES)
def protobuf(both: Both, request: pytest.FixtureRequest) -> Three:
    kind: Any = message_class(request.param)
    return Three(
        anyio.run(ProtobufSerializer(both.ours, kind).prepare, request.param),
        confluent_protobuf.ProtobufSerializer(kind, both.theirs, conf=BY_TOPIC),
        confluent_protobuf.ProtobufDeserializer(kind, conf=BY_TOPIC, schema_registry_client=both.theirs),
    )


@settings(deadline=None)
@given(record=RECORDS)
def test_avro_is_read_by_confluent_and_by_fastavro_alone(avro: Three, record: dict[str, Any]) -> None:
    made = avro.ours(TOPIC, record)
    assert avro.judge(made, CONTEXT) == record
    assert fastavro.schemaless_reader(io.BytesIO(made[5:]), PARSED, None) == record


@settings(deadline=None)
@given(record=RECORDS)
def test_avro_is_what_confluent_writes(avro: Three, record: dict[str, Any]) -> None:
    assert avro.ours(TOPIC, record) == avro.theirs(record, CONTEXT)


@settings(deadline=None)
@given(value=OBJECTS)
def test_json_is_read_by_confluent(json_schema: Three, value: dict[str, Any]) -> None:
    context = SerializationContext("objects", MessageField.VALUE)
    made = json_schema.ours("objects", value)
    assert json_schema.judge(made, context) == value
    theirs = json_schema.theirs(value, context)
    assert made[:5] == theirs[:5]
    assert json.loads(made[5:]) == json.loads(theirs[5:])


@settings(deadline=None)
@given(data=st.data())
def test_protobuf_is_read_by_confluent_and_what_it_writes(protobuf: Three, data: st.DataObject) -> None:
    kind = protobuf.ours._message_type
    name = kind.DESCRIPTOR.full_name
    message = kind(**data.draw(VALUES[name]))
    made = protobuf.ours(name, message)
    context = SerializationContext(name, MessageField.VALUE)
    assert protobuf.judge(made, context) == message
    assert made == protobuf.theirs(message, context)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cafe.Address", "00"),
        ("cafe.Order", "00"),
        ("cafe.Customer", "0202"),
        ("cafe.Customer.Contact", "040200"),
        ("cafe.Customer.Card", "040202"),
    ],
)
def test_a_messages_place_is_written_as_documented(both: Both, name: str, place: str) -> None:
    kind: Any = message_class(name)
    serializer: Any = anyio.run(ProtobufSerializer(both.ours, kind).prepare, name)
    assert serializer(name, kind())[5:].hex() == place


def test_avro_with_references_is_read_by_confluent(both: Both) -> None:
    level = Schema(json.dumps({**LEVEL, "name": "krafka.tests.Level"}))
    fields = [{"name": "level", "type": "krafka.tests.Level"}]
    text = json.dumps({"type": "record", "name": "krafka.tests.Order", "fields": fields})

    async def prepared() -> Any:
        await both.ours.register("level", level)
        reference = (await both.ours.lookup("level", level)).reference("krafka.tests.Level")
        assert reference == SchemaReference("krafka.tests.Level", "level", 1)
        schema = Schema(text, references=(reference,))
        return await AvroSerializer(both.ours, schema).prepare("referring")

    made = anyio.run(prepared)("referring", {"level": "HIGH"})
    context = SerializationContext("referring", MessageField.VALUE)
    assert confluent_avro.AvroDeserializer(both.theirs)(made, context) == {"level": "HIGH"}
    theirs = ConfluentSchema(text, "AVRO", [ConfluentReference("krafka.tests.Level", "level", 1)])
    writer = confluent_avro.AvroSerializer(both.theirs, theirs, conf=BY_TOPIC)
    assert writer({"level": "HIGH"}, context) == made

"""Serializers with a schema registry: where schemas come from, when bytes come at once, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import math
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka.errors import ConfigError, SchemaRegistryError, SerializationError
from krafka.serializers import JSONSerializer
from krafka.serializers.schema_registry import (
    AvroSerializer,
    JSONSchemaSerializer,
    ProtobufSerializer,
    Schema,
    SchemaReference,
    SchemaRegistry,
    record_name,
    topic_record_name,
)

from .fake_registry import FakeRegistry, Fault, refusal
from .messages import ADDRESS_FILE, message_class

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "cafe",
    "fields": [{"name": "id", "type": "long"}, {"name": "what", "type": "string", "default": "coffee"}],
}
ORDER_JSON = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "properties": {"id": {"type": "integer"}, "what": {"type": "string"}},
    "required": ["id"],
}
Order = message_class("cafe.Order")


def quick(fake: FakeRegistry, **options: Any) -> SchemaRegistry:
    return SchemaRegistry(fake.url, retry_backoff=0.001, retry_backoff_max=0.002, **options)


MAKE: dict[str, Callable[..., Any]] = {
    "avro": lambda registry, **options: AvroSerializer(registry, ORDER, **options),
    "json": lambda registry, **options: JSONSchemaSerializer(registry, ORDER_JSON, **options),
    "protobuf": lambda registry, **options: ProtobufSerializer(
        registry, message_class("cafe.Customer"), **options
    ),
}
GOOD = {
    "avro": {"id": 5, "what": "tea"},
    "json": {"id": 5, "what": "tea"},
    "protobuf": message_class("cafe.Customer")(name="Ada"),
}
SCHEMA_OF = {
    "avro": Schema(json.dumps(ORDER)),
    "json": Schema(json.dumps(ORDER_JSON), "JSON"),
}


@pytest.fixture(params=sorted(MAKE))
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


# -- bytes at once ---------------------------------------------------------------------------------------------------


async def test_the_first_value_is_awaited_and_the_next_are_bytes(fake: FakeRegistry, kind: str) -> None:
    serializer = MAKE[kind](quick(fake))
    first = serializer("orders", GOOD[kind], None)
    assert inspect.isawaitable(first)
    made = await first
    assert made[:1] == b"\x00"
    asked = len(fake.asked)
    assert serializer("orders", GOOD[kind], {"name": b"value"}) == made
    other = serializer("other", GOOD[kind])
    assert await other == made
    assert len(fake.asked) == asked + 1
    assert serializer("orders", None) is None
    assert serializer("unknown", None) is None


async def test_an_awaitable_that_nobody_awaits_asks_nothing_and_warns_of_nothing(
    fake: FakeRegistry, kind: str
) -> None:
    MAKE[kind](quick(fake))("orders", GOOD[kind])
    assert fake.asked == []


async def test_prepare_makes_the_first_value_bytes_at_once(fake: FakeRegistry, kind: str) -> None:
    serializer = MAKE[kind](quick(fake))
    assert await serializer.prepare("orders", "other") is serializer
    assert isinstance(serializer("orders", GOOD[kind]), bytes)
    assert isinstance(serializer("other", GOOD[kind]), bytes)
    assert inspect.isawaitable(serializer("third", GOOD[kind]))


async def test_first_values_at_once_make_one_request(fake: FakeRegistry, kind: str) -> None:
    serializer = MAKE[kind](quick(fake))
    made = []

    async def one() -> None:
        made.append(await serializer("orders", GOOD[kind]))

    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(one)
    assert len(set(made)) == 1
    registrations = [each for each in fake.paths() if each == "POST /subjects/orders-value/versions"]
    assert len(registrations) == 1


async def test_a_failure_is_not_kept(fake: FakeRegistry, kind: str) -> None:
    serializer = MAKE[kind](quick(fake, retries=0))
    fake.faults += [refusal(500, 50001, "down"), refusal(409, 409, "incompatible")]
    for status in (500, 409):
        with pytest.raises(SchemaRegistryError) as caught:
            await serializer("orders", GOOD[kind])
        assert caught.value.status == status
    assert isinstance(await serializer("orders", GOOD[kind]), bytes)


# -- where schemas come from -----------------------------------------------------------------------------------------


async def test_only_what_is_registered_is_used_without_auto_register(fake: FakeRegistry, kind: str) -> None:
    serializer = MAKE[kind](quick(fake), auto_register=False)
    with pytest.raises(SchemaRegistryError) as caught:
        await serializer("orders", GOOD[kind])
    assert caught.value.registry_code == 40401
    expected = await MAKE[kind](quick(fake))("orders", GOOD[kind])
    fake.asked.clear()
    assert await serializer("orders", GOOD[kind]) == expected
    assert "POST /subjects/orders-value/versions" not in fake.paths()


async def test_normalize_is_asked_for(fake: FakeRegistry, kind: str) -> None:
    await MAKE[kind](quick(fake), normalize=True)("orders", GOOD[kind])
    assert fake.asked[-1].query == {"normalize": ["true"]}


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        ({}, "orders-value"),
        ({"field": "key"}, "orders-key"),
        ({"subject_name": record_name}, "{name}"),
        ({"subject_name": topic_record_name}, "orders-{name}"),
        ({"subject_name": lambda topic, field, name: f"{field}/{topic}/{name}"}, "value%2Forders%2F{name}"),
    ],
)
async def test_the_subject_is_named_as_asked(
    fake: FakeRegistry, kind: str, options: dict[str, Any], subject: str
) -> None:
    name = {"avro": "cafe.Order", "json": "Order", "protobuf": "cafe.Customer"}[kind]
    await MAKE[kind](quick(fake), **options)("orders", GOOD[kind])
    assert fake.paths()[-1] == f"POST /subjects/{subject.format(name=name)}/versions"


@pytest.mark.parametrize("make", ["avro", "json"])
async def test_a_schema_without_a_name_cannot_name_a_subject(fake: FakeRegistry, make: str) -> None:
    serializer: Any
    if make == "avro":
        serializer = AvroSerializer(quick(fake), ["null", "string"], subject_name=record_name)
    else:
        serializer = JSONSchemaSerializer(quick(fake), {"type": "object"}, subject_name=topic_record_name)
    with pytest.raises(ConfigError, match="the schema has no name") as caught:
        await serializer("orders", {})
    assert caught.value.option == "subject_name"
    with pytest.raises(ConfigError, match="must give a str that is not empty, got None for topic 'orders'"):
        await AvroSerializer(quick(fake), '"string"', subject_name=lambda *_: None)("orders", "x")


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ('"string"', "string"),
        ({"type": "int"}, "int"),
        ({"type": "enum", "name": "a.b.E", "namespace": "c", "symbols": ["X"]}, "a.b.E"),
        ({"type": "fixed", "name": "F", "size": 2}, "F"),
    ],
)
async def test_the_name_of_an_avro_type(fake: FakeRegistry, schema: Any, name: str) -> None:
    await AvroSerializer(quick(fake), schema, subject_name=record_name).prepare("t")
    assert fake.paths() == [f"POST /subjects/{name}/versions"]


@pytest.mark.parametrize("kind", ["avro", "json"])
async def test_the_latest_version_is_used_whatever_it_is(fake: FakeRegistry, kind: str) -> None:
    registry = quick(fake)
    await registry.register("orders-value", SCHEMA_OF[kind])
    make = AvroSerializer if kind == "avro" else JSONSchemaSerializer
    serializer = make(registry, use_latest_version=True)
    made = await serializer("orders", GOOD[kind])
    assert made == await MAKE[kind](registry)("orders", GOOD[kind])
    text = json.dumps({"type": "array", "items": "long"} if kind == "avro" else {"type": "array"})
    await registry.register("orders-value", Schema(text, SCHEMA_OF[kind].type))
    assert serializer("orders", GOOD[kind]) == made
    later = make(registry, use_latest_version=True)
    with pytest.raises(SerializationError, match="version 2, id 2"):
        await later("orders", GOOD[kind])


async def test_the_latest_version_is_asked_for_again_after_its_time(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr("krafka.serializers.schema_registry._serializer.time.monotonic", lambda: now)
    registry = quick(fake, retries=0)
    await registry.register("t-value", Schema('"long"'))
    serializer = AvroSerializer(registry, use_latest_version=True, latest_ttl=60)
    await serializer.prepare("t")
    await registry.register("t-value", Schema('"double"'))
    now += 59.9
    assert serializer("t", 1) == b"\x00\x00\x00\x00\x01\x02"
    now += 0.1
    again: Any = serializer("t", 1)
    assert await again == b"\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\xf0\x3f"
    assert isinstance(serializer("t", 1), bytes)
    now += 60
    fake.faults.append(refusal(503, 50003, "down"))
    with caplog.at_level(logging.WARNING, "krafka"):
        again = serializer("t", 1)
        assert (await again)[:5] == b"\x00\x00\x00\x00\x02"
    assert "the latest schema for topic 't' stays as it was: schema registry" in caplog.text
    assert isinstance(serializer("t", 1), bytes)
    now += 60
    fake.faults.append(refusal(403, 403, "denied"))
    with pytest.raises(SchemaRegistryError, match="denied"):
        again = serializer("t", 1)
        await again


async def test_an_id_is_enough(fake: FakeRegistry) -> None:
    registry = quick(fake)
    await registry.register("any", Schema('"string"'))
    serializer = AvroSerializer(registry, schema_id=1)
    assert await serializer("orders", "tea") == b"\x00\x00\x00\x00\x01\x06tea"
    assert fake.paths()[1:] == ["GET /schemas/ids/1"]
    with pytest.raises(SchemaRegistryError, match="cannot tell the schema of id 7: HTTP status 404"):
        await AvroSerializer(registry, schema_id=7)("orders", "tea")
    with pytest.raises(
        SerializationError, match=r"\(id 1\) is of type AVRO, JSONSchemaSerializer needs JSON"
    ):
        await JSONSchemaSerializer(registry, schema_id=1)("orders", "tea")


@pytest.mark.parametrize("text", ["{}", "no json", '{"type":"record"}', '"cafe.Nowhere"'])
async def test_a_registered_schema_that_cannot_be_used_is_told(fake: FakeRegistry, text: str) -> None:
    answer = {"subject": "orders-value", "version": 3, "id": 9, "schema": text}
    fake.faults.append(Fault(200, json.dumps(answer).encode()))
    serializer = AvroSerializer(quick(fake), use_latest_version=True)
    with pytest.raises(SerializationError) as caught:
        await serializer("orders", "tea")
    assert "the Avro schema for the value in topic 'orders' (subject 'orders-value', version 3, id 9)" in str(
        caught.value
    )
    assert "cannot be used: " in str(caught.value)


# -- schemas that refer to others ------------------------------------------------------------------------------------


async def test_avro_resolves_references_of_references_once(fake: FakeRegistry) -> None:
    registry = quick(fake)
    country = await registry.register(
        "country", Schema(json.dumps({"type": "enum", "name": "cafe.Country", "symbols": ["FR", "AT"]}))
    )
    address = Schema(
        json.dumps(
            {
                "type": "record",
                "name": "cafe.Address",
                "fields": [{"name": "country", "type": "cafe.Country"}],
            }
        ),
        references=((await registry.lookup("country", country.schema)).reference("cafe.Country"),),
    )
    await registry.register("address", address)
    fields = [{"name": name, "type": f"cafe.{kind}"} for name, kind in (("to", "Address"), ("of", "Country"))]
    order = Schema(
        json.dumps({"type": "record", "name": "cafe.Order", "fields": fields}),
        references=(
            SchemaReference("cafe.Address", "address", 1),
            SchemaReference("cafe.Country", "country", 1),
        ),
    )
    fake.asked.clear()
    serializer = AvroSerializer(registry, order)
    made: Any = serializer("orders", {"to": {"country": "AT"}, "of": "FR"})
    assert await made == b"\x00\x00\x00\x00\x03\x02\x00"
    assert sorted(fake.paths()) == [
        "GET /subjects/address/versions/1",
        "GET /subjects/country/versions/1",
        "POST /subjects/orders-value/versions",
    ]


@pytest.mark.parametrize(
    ("schema", "value", "data"),
    [
        ("cafe.Line", {"level": "HIGH"}, b"\x02"),
        (["cafe.Level", "cafe.Line"], {"level": "HIGH"}, b"\x02\x02"),
        (["null", "cafe.Line"], {"level": "HIGH"}, b"\x02\x02"),
        ({"type": "array", "items": "cafe.Line"}, [{"level": "HIGH"}], b"\x02\x02\x00"),
        ({"type": "map", "values": ["null", "cafe.Level"]}, {"a": "LOW"}, b"\x02\x02a\x02\x00\x00"),
        (["cafe.Line", {"type": "array", "items": "cafe.Level"}], ["LOW"], b"\x02\x02\x00\x00"),
    ],
)
async def test_avro_takes_references_wherever_a_name_may_stand(
    fake: FakeRegistry, schema: Any, value: Any, data: bytes
) -> None:
    registry = quick(fake)
    level = {"type": "enum", "name": "Level", "namespace": "cafe", "symbols": ["LOW", "HIGH"]}
    line = {"type": "record", "name": "cafe.Line", "fields": [{"name": "level", "type": "Level"}]}
    await registry.register("level", Schema(json.dumps(level)))
    to_level = SchemaReference("the level", "level", 1)
    await registry.register("line", Schema(json.dumps(line), references=(to_level,)))
    references = (SchemaReference("cafe.Line", "line", 1), to_level)
    serializer = AvroSerializer(registry, Schema(json.dumps(schema), references=references))
    made: Any = serializer("t", value)
    assert (await made)[5:] == data


async def test_references_in_a_circle_come_to_an_end(fake: FakeRegistry) -> None:
    level = json.dumps({"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]})
    itself = [{"name": "Level", "subject": "level", "version": 1}]
    for schema_id, text in ((7, '"Level"'), (3, level)):
        answer = {"id": schema_id, "version": 1, "schema": text, "references": itself}
        fake.faults.append(Fault(200, json.dumps(answer).encode()))
    serializer = await AvroSerializer(quick(fake), use_latest_version=True).prepare("t")
    assert serializer("t", "HIGH") == b"\x00\x00\x00\x00\x07\x02"
    assert fake.paths() == ["GET /subjects/t-value/versions/latest", "GET /subjects/level/versions/1"]


@pytest.mark.parametrize("own_id", [None, "http://example.com/schemas/order.json"])
async def test_json_schema_resolves_its_references_and_nothing_else(
    fake: FakeRegistry, own_id: str | None
) -> None:
    registry = quick(fake)
    await registry.register("what", Schema('{"type":"string"}', "JSON"))
    root: dict[str, Any] = {"type": "object", "properties": {"what": {"$ref": "what.json"}}}
    if own_id is not None:
        root["$id"] = own_id
    reference = SchemaReference("what.json", "what", 1)
    serializer = JSONSchemaSerializer(registry, Schema(json.dumps(root), "JSON", (reference,)))
    made: Any = serializer("t", {"what": "tea"})
    assert await made == b'\x00\x00\x00\x00\x02{"what":"tea"}'
    with pytest.raises(SerializationError, match="does not fit its JSON Schema"):
        serializer("t", {"what": 5})
    with FakeRegistry() as elsewhere:
        stranger = {"$ref": f"{elsewhere.url}/subjects/what"}
        with pytest.raises(ConfigError, match="is none of the schema's references: "):
            JSONSchemaSerializer(registry, stranger)
        assert elsewhere.asked == []


async def test_protobuf_registers_what_a_file_imports_and_refers_to_it(fake: FakeRegistry) -> None:
    registry = quick(fake)
    await ProtobufSerializer(registry, Order).prepare("orders")
    quoted = ADDRESS_FILE.replace("/", "%2F")
    assert fake.paths() == [
        f"POST /subjects/{quoted}/versions",
        f"POST /subjects/{quoted}",
        "POST /subjects/orders-value/versions",
    ]
    assert fake.asked[-1].body["references"] == [
        {"name": ADDRESS_FILE, "subject": ADDRESS_FILE, "version": 1}
    ]
    fake.asked.clear()
    await ProtobufSerializer(quick(fake), Order, auto_register=False).prepare("orders")
    assert fake.paths() == [f"POST /subjects/{quoted}", "POST /subjects/orders-value"]


# -- values that do not fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"id": "5"}, "cafe.Order.id"),
        ({"what": "tea"}, "cafe.Order.id"),
        ({"id": 2**63}, "cafe.Order.id"),
        ({"id": 1.5}, "cafe.Order.id"),
        ({"id": 5, "what": b"tea"}, "cafe.Order.what"),
        (5, "it is 5 (int)"),
        ([("id", 5)], "(list)"),
    ],
)
async def test_a_value_that_does_not_fit_an_avro_schema_is_refused(
    fake: FakeRegistry, value: Any, text: str
) -> None:
    serializer = await AvroSerializer(quick(fake), ORDER).prepare("orders")
    with pytest.raises(SerializationError) as caught:
        serializer("orders", value)
    assert str(caught.value).startswith(
        "value for topic 'orders' does not fit its Avro schema (subject 'orders-value', id 1): "
    )
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


async def test_what_fastavro_would_write_wrongly_is_only_written_without_validation(
    fake: FakeRegistry,
) -> None:
    registry = quick(fake)
    checked = await AvroSerializer(registry, '"int"').prepare("t")
    unchecked = await AvroSerializer(registry, '"int"', validate=False).prepare("t")
    for value in (2**40, 1.7, True):
        with pytest.raises(SerializationError):
            checked("t", value)
        assert isinstance(unchecked("t", value), bytes)


async def test_strict_refuses_fields_that_the_schema_has_not(fake: FakeRegistry) -> None:
    registry = quick(fake)
    value = {"id": 5, "extra": 1}
    for validate in (True, False):
        lax = await AvroSerializer(registry, ORDER, validate=validate).prepare("t")
        assert lax("t", value) == b"\x00\x00\x00\x00\x01\x0a\x0ccoffee"
        strict = await AvroSerializer(registry, ORDER, validate=validate, strict=True).prepare("t")
        assert strict("t", {"id": 5, "what": "tea"}) == b"\x00\x00\x00\x00\x01\x0a\x06tea"
        with pytest.raises(SerializationError, match="extra"):
            strict("t", value)


async def test_a_schema_of_bytes_writes_them_as_they_are(fake: FakeRegistry) -> None:
    serializer = await AvroSerializer(quick(fake), '"bytes"').prepare("t")
    assert serializer("t", b"raw") == b"\x00\x00\x00\x00\x01raw"
    assert serializer("t", bytearray(b"raw")) == b"\x00\x00\x00\x00\x01raw"
    unchecked = await AvroSerializer(quick(fake), '"bytes"', validate=False).prepare("t")
    assert unchecked("t", memoryview(b"raw")) == b"\x00\x00\x00\x00\x01raw"
    for value in ("text", 5):
        for each in (serializer, unchecked):
            with pytest.raises(SerializationError):
                each("t", value)
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
    money = await AvroSerializer(quick(fake), decimal).prepare("money")
    assert money("money", Decimal("1.23")) == b"\x00\x00\x00\x00\x02\x02\x7b"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"id": "x"}, '"x" is not of type "integer"'),
        ({}, '"id" is a required property'),
        ({"id": 1, "what": math.nan}, "null is not of type"),
        ({"id": 1, "what": b"tea"}, "bytes"),
    ],
)
async def test_a_value_that_does_not_fit_a_json_schema_is_refused(
    fake: FakeRegistry, value: Any, text: str
) -> None:
    serializer = await JSONSchemaSerializer(quick(fake), ORDER_JSON).prepare("orders")
    with pytest.raises(SerializationError) as caught:
        serializer("orders", value)
    assert "value for topic 'orders' does not fit its JSON Schema (subject 'orders-value', id 1): " in str(
        caught.value
    )
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_json_is_made_as_asked_and_checked_if_asked(fake: FakeRegistry) -> None:
    registry = quick(fake)
    sorted_json = JSONSerializer(library="json", sort_keys=True)
    serializer = await JSONSchemaSerializer(registry, ORDER_JSON, json=sorted_json).prepare("t")
    assert (
        serializer("t", {"what": "caf\u00e9", "id": 5})
        == b'\x00\x00\x00\x00\x01{"id":5,"what":"caf\xc3\xa9"}'
    )
    unchecked = await JSONSchemaSerializer(registry, ORDER_JSON, validate=False).prepare("t")
    assert unchecked("t", {}) == b"\x00\x00\x00\x00\x01{}"


async def test_another_message_is_refused(fake: FakeRegistry) -> None:
    serializer = await ProtobufSerializer(quick(fake), Order).prepare("orders")
    other: Any = message_class("cafe.Customer")()
    for value in (other, {"id": 5}):
        with pytest.raises(SerializationError, match=r"a message 'cafe\.Order' is needed"):
            serializer("orders", value)


@dataclasses.dataclass
class Ordered:
    id: int


@pytest.mark.parametrize("make", [AvroSerializer, JSONSchemaSerializer])
async def test_to_dict_makes_plain_data(fake: FakeRegistry, make: Any) -> None:
    schema = ORDER if make is AvroSerializer else ORDER_JSON
    serializer = await make(quick(fake), schema, to_dict=dataclasses.asdict).prepare("t")
    plain = await make(quick(fake), schema).prepare("t")
    assert serializer("t", Ordered(5)) == plain("t", {"id": 5})
    with pytest.raises(SerializationError, match="asdict") as caught:
        serializer("t", {"id": 5})
    assert isinstance(caught.value.__cause__, TypeError)


async def test_cancelling_the_first_value_leaves_the_serializer_whole(fake: FakeRegistry, kind: str) -> None:
    serializer = MAKE[kind](quick(fake))
    fake.faults.append(Fault(hold=threading.Event()))
    ended = []

    async def first() -> None:
        ended.append(await serializer("orders", GOOD[kind]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        while not fake.asked:
            await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert ended == []
    assert isinstance(await serializer("orders", GOOD[kind]), bytes)


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "option", "text"),
    [
        (AvroSerializer, "schema", "schema must be given, or use_latest_version, or schema_id"),
        (JSONSchemaSerializer, "schema", "schema must be given"),
        (lambda r: AvroSerializer(r, "{"), "schema", "is no Avro schema: JSONDecodeError"),
        (lambda r: AvroSerializer(r, {"type": "recrod"}), "schema", "is no Avro schema: "),
        (lambda r: AvroSerializer(r, Schema("{}", "JSON")), "schema", "must be of type AVRO, got JSON"),
        (lambda r: JSONSchemaSerializer(r, Schema('"int"')), "schema", "must be of type JSON, got AVRO"),
        (lambda r: JSONSchemaSerializer(r, "{"), "schema", "is no JSON Schema: "),
        (lambda r: JSONSchemaSerializer(r, {"type": 12}), "schema", "is no JSON Schema: 12 is not valid"),
        (lambda r: ProtobufSerializer(r, Ordered), "message_type", "must be a class made by protoc, got "),
        (
            lambda r: AvroSerializer(r, ORDER, schema_id=1),
            "schema_id",
            "schema and schema_id exclude each other",
        ),
        (lambda r: AvroSerializer(r, schema_id=-1), "schema_id", "an int from 0 to 2147483647, got -1"),
        (lambda r: AvroSerializer(r, schema_id=True), "schema_id", "got True"),
        (
            lambda r: AvroSerializer(r, ORDER, field="header"),
            "field",
            "must be 'key' or 'value', got 'header'",
        ),
        (lambda r: AvroSerializer(r, ORDER, subject_name="topic"), "subject_name", "must be a function"),
        (lambda r: AvroSerializer(r, ORDER, latest_ttl=5), "latest_ttl", "needs use_latest_version=True"),
        (
            lambda r: AvroSerializer(r, use_latest_version=True, latest_ttl=0),
            "latest_ttl",
            "must be above 0 seconds, got 0",
        ),
        (
            lambda r: AvroSerializer(r, ORDER, auto_register=True, use_latest_version=True),
            "use_latest_version",
            "auto_register and use_latest_version exclude each other",
        ),
        (
            lambda r: ProtobufSerializer(r, Order, use_latest_version=True, schema_id=5),
            "schema_id",
            "use_latest_version and schema_id exclude each other",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(
    make: Callable[[SchemaRegistry], object], option: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(SchemaRegistry("http://localhost:8081"))
    assert text in str(caught.value)
    assert caught.value.option == option


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unknown options: auto_registr"):
        AvroSerializer(SchemaRegistry("http://localhost:8081"), ORDER, auto_registr=True)

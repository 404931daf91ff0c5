"""Serializers make bytes of keys and values, behind the interceptors and before the partitioner."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from faulty import TOPIC, faulty
from hooking import VERBS, WAITING_VERBS, Notes

from krafka import (
    KafkaError,
    NetworkError,
    ProducerRecord,
    ProducerStateError,
    RecordTooLargeError,
    RecordValidationError,
    SendManyError,
    SerializationError,
)

pytestmark = pytest.mark.anyio

every_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
OBJECTS: list[Any] = [{"n": 1}, ["a", None], "text", 5, 2.5, True]


def to_json(topic: str, value: Any, headers: Any) -> bytes | None:
    return None if value is None else json.dumps(value).encode()


async def to_json_later(topic: str, value: Any, headers: Any) -> bytes | None:
    await anyio.lowlevel.checkpoint()
    return to_json(topic, value, headers)


class Journal:
    """A serializer that notes its calls."""

    def __init__(self, field: str, calls: list[Any]) -> None:
        self._field = field
        self._calls = calls

    def __call__(self, topic: str, value: Any, headers: list[tuple[str, Any]]) -> bytes | None:
        self._calls.append((self._field, topic, value, list(headers)))
        return b"%d bytes" % len(repr(value))


@every_verb
async def test_values_may_be_anything_that_it_takes(verb: Any) -> None:
    async with faulty(value_serializer=to_json) as (cluster, producer):
        told = await verb(producer, OBJECTS)
        assert [record.value for record in cluster.log(TOPIC)] == [
            json.dumps(value).encode() for value in OBJECTS
        ]
        assert [metadata.offset for metadata in told] == list(range(len(OBJECTS)))


@pytest.mark.parametrize("verb", WAITING_VERBS, ids=lambda verb: verb.__name__)
async def test_a_coroutine_function_is_awaited(verb: Any) -> None:
    async with faulty(value_serializer=to_json_later) as (cluster, producer):
        await verb(producer, OBJECTS)
        assert [record.value for record in cluster.log(TOPIC)] == [
            json.dumps(value).encode() for value in OBJECTS
        ]


async def test_key_first_then_value_after_the_interceptors() -> None:
    class Changing(Notes):
        def on_send(self, record: ProducerRecord) -> None:
            super().on_send(record)
            record.key = ("changed", record.key)
            record.add_header("h", b"1")

    changing = Changing()
    calls: list[Any] = []
    async with faulty(
        interceptors=[changing],
        key_serializer=Journal("key", calls),
        value_serializer=Journal("value", calls),
    ) as (cluster, producer):
        value = object()
        await producer.send(TOPIC, value, key=5)
        (record,) = cluster.log(TOPIC)
    assert calls == [
        ("key", TOPIC, ("changed", 5), [("h", b"1")]),
        ("value", TOPIC, value, [("h", b"1")]),
    ]
    assert (record.key, record.value) == (b"14 bytes", b"%d bytes" % len(repr(value)))
    # The interceptor's record is not the one that was serialized.
    assert (changing.shown[0].key, changing.shown[0].value) == (("changed", 5), value)


async def test_one_that_is_empty_is_one() -> None:
    class Cached(dict[Any, bytes]):
        def __call__(self, topic: str, value: Any, headers: Any) -> bytes:
            return self.get(value) or b"new"

    async with faulty(value_serializer=Cached()) as (cluster, producer):
        await producer.send(TOPIC, 5)
        assert cluster.log(TOPIC)[0].value == b"new"


async def test_none_is_serialized_too_and_may_stay_none() -> None:
    calls: list[Any] = []
    async with faulty(value_serializer=to_json, key_serializer=Journal("key", calls)) as (cluster, producer):
        await producer.send(TOPIC)
        await producer.send_many(TOPIC, [None])
        assert [(record.key, record.value) for record in cluster.log(TOPIC)] == [(b"4 bytes", None)] * 2
    assert [value for _, _, value, _ in calls] == [None, None]


@pytest.mark.parametrize("headers", [None, (("h", b"1"),), [("h", b"1")], {"h": b"1"}], ids=repr)
async def test_it_may_add_headers(headers: Any) -> None:
    def versioned(topic: str, value: Any, headers: list[tuple[str, Any]]) -> bytes:
        headers.append(("version", b"2"))
        return b""

    async with faulty(value_serializer=versioned) as (cluster, producer):
        await producer.send(TOPIC, 5, headers=headers)
        await producer.send_record(ProducerRecord(TOPIC, 5, headers=headers or ()))
        before = (("h", b"1"),) if headers else ()
        assert {record.headers for record in cluster.log(TOPIC)} == {(*before, ("version", b"2"))}
    assert headers is None or len(headers) == 1


@every_verb
async def test_one_that_fails_fails_that_record_alone(verb: Any) -> None:
    notes = Notes()
    async with faulty(value_serializer=to_json, interceptors=[notes]) as (cluster, producer):
        told = await verb(producer, [1, Decimal(2), 3])
        assert [record.value for record in cluster.log(TOPIC)] == [b"1", b"3"]
    error = told[1]
    assert isinstance(error, SerializationError)
    assert isinstance(error, RecordValidationError)
    assert isinstance(error.__cause__, TypeError)
    assert str(error).startswith(
        "record for topic 'orders': value_serializer to_json failed for a value of type Decimal: TypeError: "
    )
    assert not error.is_retriable
    assert sorted(map(str, notes.errors)) == sorted(map(str, [None, SerializationError, None]))


@pytest.mark.parametrize("field", ["key", "value"])
@pytest.mark.parametrize("made", ["text", 5, ["b"]], ids=repr)
async def test_what_it_returns_has_to_be_bytes(field: str, made: Any) -> None:
    class Wrong:
        def __call__(self, topic: str, value: Any, headers: Any) -> Any:
            return made

    async with faulty(**{f"{field}_serializer": Wrong()}) as (_, producer):
        with pytest.raises(SerializationError) as caught:
            await producer.send(TOPIC, b"v", key=b"k")
    assert f"{field}_serializer Wrong returned {type(made).__name__} for a {field} of type bytes" in str(
        caught.value
    )


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
async def test_all_kinds_of_bytes_will_do(make: Any) -> None:
    async with faulty(value_serializer=lambda topic, value, headers: make(value.encode())) as (
        cluster,
        producer,
    ):
        await producer.send(TOPIC, "text")
        assert cluster.log(TOPIC)[0].value == b"text"


async def test_a_failure_that_may_pass_says_so() -> None:
    async def from_registry(topic: str, value: Any, headers: Any) -> bytes:
        raise NetworkError("the registry is away")

    async with faulty(value_serializer=from_registry) as (_, producer):
        with pytest.raises(SerializationError, match="NetworkError: the registry is away") as caught:
            await producer.send(TOPIC, 1)
        assert caught.value.is_retriable
        with pytest.raises(SendManyError) as of_many:
            (await producer.send_many(TOPIC, [1])).raise_for_errors()
        assert of_many.value.failed[0][1].is_retriable


async def test_what_cannot_be_awaited_is_refused_at_once() -> None:
    called = []

    class Later:
        async def __call__(self, topic: str, value: Any, headers: Any) -> bytes:
            called.append(value)
            return b""

    def sly(topic: str, value: Any, headers: Any) -> Any:
        return Later()(topic, value, headers)

    for serializer, name in ((to_json_later, "to_json_later"), (Later(), "Later"), (sly, "sly")):
        async with faulty(key_serializer=serializer) as (_, producer):
            with pytest.raises(ProducerStateError, match=rf"key_serializer .*{name}.*await enqueue\(\)"):
                producer.enqueue_nowait(TOPIC, b"", key=5)
            assert called == []
            await producer.enqueue(TOPIC, b"", key=5)
        called.clear()


async def test_the_partitioner_is_asked_about_the_bytes() -> None:
    class Seeing:
        def partition_record(self, record: ProducerRecord, available: Any, partition_count: int) -> int:
            seen.append((record.key, record.value))
            return 1

    seen: list[Any] = []
    async with faulty(
        partitions=2, partitioner=Seeing(), key_serializer=to_json, value_serializer=to_json
    ) as (_, producer):
        assert (await producer.send(TOPIC, [1], key="k")).partition == 1
    assert seen == [(b'"k"', b"[1]")]


@pytest.mark.parametrize("headers", [5, "text", [("a", 5)]], ids=repr)
async def test_headers_that_are_none(headers: Any) -> None:
    async with faulty(value_serializer=to_json) as (cluster, producer):
        with pytest.raises(RecordValidationError, match="header"):
            await producer.send(TOPIC, 1, headers=headers)
        assert cluster.log(TOPIC) == []


async def test_what_comes_of_it_is_checked_like_any_bytes() -> None:
    async with faulty(value_serializer=to_json) as (_, producer):
        with pytest.raises(RecordTooLargeError):
            await producer.send(TOPIC, "x" * 2_000_000)
        with pytest.raises(RecordValidationError, match=r"key is str; .* give the producer a key_serializer"):
            await producer.send(TOPIC, 1, key="k")


async def test_it_waits_its_turn_as_any_record(caplog: pytest.LogCaptureFixture) -> None:
    async with faulty(value_serializer=to_json_later, buffer_memory=20_000, batch_size=2000) as (
        cluster,
        producer,
    ):
        result = await producer.send_many(TOPIC, ["x" * 500] * 300)
        assert result.failed == []
        errors: list[KafkaError] = []
        async with anyio.create_task_group() as task_group:
            for number in range(50):
                task_group.start_soon(producer.send, TOPIC, str(number) * 500)
        assert errors == []
        assert len(cluster.log(TOPIC)) == 350

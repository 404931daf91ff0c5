"""Records that cannot be sent, by every verb: the text names record, field and limit, and nobody else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from faulty import TOPIC, error_of, faulty
from hooking import Notes

from krafka import ProducerRecord, RecordTooLargeError, RecordValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from krafka import KafkaError, Producer

pytestmark = pytest.mark.anyio

INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "topic": ({"topic": "a b"}, "topic name 'a b' may have only ASCII letters, digits, '.', '_' and '-'"),
    "topic-long": ({"topic": "x" * 250}, "topic name is 250 characters long, Kafka's limit is 249"),
    "topic-wire": ({"topic": "x" * 32_768}, "topic name is 32768 characters long"),
    "topic-dots": ({"topic": ".."}, "topic name '..' is reserved by Kafka"),
    "topic-none": ({"topic": None}, "topic must be str, got None"),
    "value": ({"value": 5}, "record for topic 'orders': value must be bytes, bytearray, memoryview or None"),
    "value-str": ({"value": "text"}, "record for topic 'orders': value is str; encode it (.encode())"),
    "key": ({"key": "text"}, "record for topic 'orders': key is str"),
    "headers": ({"headers": 5}, "record for topic 'orders': headers must be a sequence"),
    "header-none": (
        {"headers": [("a", b""), (None, b"")]},
        "record for topic 'orders': header 1: name must be str",
    ),
    "header-text": ({"headers": [("\ud800", b"")]}, "header 0: name '\\ud800' is not valid Unicode text"),
    "header-value": ({"headers": {"a": "text"}}, "header 0 ('a'): value is str"),
    "header-count": (
        {"headers": [("a", b"")] * 10_001},
        "record for topic 'orders': it has 10001 headers, krafka's limit is 10000",
    ),
    "partition": ({"partition": -1}, "record for topic 'orders': partition must be between 0 and 2147483647"),
    "no-partition": ({"partition": 7}, "record for topic 'orders': there is no partition 7"),
    "timestamp": ({"timestamp": -5}, "record for topic 'orders': timestamp must be between 0"),
    "large": ({"value": bytes(3000)}, "a record for orders-0 takes 30"),
    "large-headers": ({"headers": [("a", bytes(3000))]}, "max_request_size is 2000 bytes"),
}
MANY_HEADERS = [("a", b"")] * 10_000


async def by_send(producer: Producer, records: list[dict[str, Any]]) -> list[KafkaError | None]:
    return [await _error(producer.send(**record)) for record in records]


async def by_send_record(producer: Producer, records: list[dict[str, Any]]) -> list[KafkaError | None]:
    return [await _error(producer.send_record(ProducerRecord(**record))) for record in records]


async def _error(sending: Any) -> KafkaError | None:
    try:
        await sending
    except RecordValidationError as error:
        return error
    return None


async def by_enqueue(producer: Producer, records: list[dict[str, Any]]) -> list[KafkaError | None]:
    kept: list[Any] = []
    for record in records:
        try:
            kept.append(await producer.enqueue(**record))
        except RecordValidationError as error:
            kept.append(error)
    return [each if isinstance(each, RecordValidationError) else await error_of(each) for each in kept]


async def by_send_many(producer: Producer, records: list[dict[str, Any]]) -> list[KafkaError | None]:
    return await _errors(producer, [ProducerRecord(**record) for record in records])


async def by_send_many_later(producer: Producer, records: list[dict[str, Any]]) -> list[KafkaError | None]:
    async def later(items: Iterable[Any]) -> AsyncIterator[Any]:
        for item in items:
            yield item

    return await _errors(producer, later([ProducerRecord(**record) for record in records]))


async def _errors(producer: Producer, records: Any) -> list[KafkaError | None]:
    result = await producer.send_many(records)
    failed = dict(result.failed)
    return [failed.get(index) for index in range(len(result))]


VERBS: list[Any] = [by_send, by_send_record, by_enqueue, by_send_many, by_send_many_later]


@pytest.mark.parametrize("hooked", [False, True], ids=["bare", "hooked"])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
async def test_it_fails_alone_and_is_told_why(verb: Any, hooked: bool) -> None:
    records: list[dict[str, Any]] = [{"topic": TOPIC, "value": b"0:", "partition": 0}]
    for number, (wrong, _) in enumerate(INVALID.values(), 1):
        records.append({"topic": TOPIC, "value": b"v", **wrong})
        records.append({"topic": TOPIC, "value": b"%d:" % number, "headers": [("a", None)]})
    async with faulty(linger=0.01, max_request_size=2000, interceptors=[Notes()] if hooked else []) as (
        cluster,
        producer,
    ):
        errors = await verb(producer, records)
        assert [record.value for record in cluster.log(TOPIC)] == [
            b"%d:" % number for number in range(len(INVALID) + 1)
        ]
    assert errors[::2] == [None] * (len(INVALID) + 1)
    for error, (name, (_, text)) in zip(errors[1::2], INVALID.items(), strict=True):
        assert isinstance(error, RecordTooLargeError if "large" in name else RecordValidationError)
        assert text in str(error)
        assert not error.possibly_written


@pytest.mark.parametrize("hooked", [False, True], ids=["bare", "hooked"])
async def test_enqueue_nowait_says_the_same(hooked: bool) -> None:
    async with faulty(linger=0.01, max_request_size=2000, interceptors=[Notes()] if hooked else []) as (
        cluster,
        producer,
    ):
        deliveries = []
        for number, (name, (wrong, text)) in enumerate(INVALID.items()):
            deliveries.append(producer.enqueue_nowait(TOPIC, b"%d:" % number))
            if name != "no-partition":
                with pytest.raises(RecordValidationError) as caught:
                    producer.enqueue_nowait(**{"topic": TOPIC, "value": b"v", **wrong})
                assert text in str(caught.value)
        for delivery in deliveries:
            await delivery
        assert [record.value for record in cluster.log(TOPIC)] == [
            b"%d:" % number for number in range(len(INVALID))
        ]


async def test_a_value_of_send_many_fails_alone() -> None:
    async with faulty(max_request_size=2000) as (cluster, producer):
        result = await producer.send_many(TOPIC, [b"0", 5, b"2", "text", b"4", bytes(3000), b"6"])
        assert [index for index, _ in result.failed] == [1, 3, 5]
        assert [record.value for record in cluster.log(TOPIC)] == [b"0", b"2", b"4", b"6"]


async def test_as_many_headers_as_there_may_be() -> None:
    async with faulty() as (cluster, producer):
        await producer.send(TOPIC, b"v", headers=MANY_HEADERS)
        assert cluster.log(TOPIC)[0].headers == tuple(MANY_HEADERS)

"""Interceptors and serializers on a real Kafka: what they made is what another client reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hooking import Notes

from krafka import MessageTooLargeError, Producer, ProducerRecord, RecordRejectedError, RejectRecord

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

RECORDS = 500


class Tracing(Notes):
    """Numbers records in a header and refuses every tenth."""

    async def on_send(self, record: ProducerRecord) -> None:
        super().on_send(record)
        if record.value["n"] % 10 == 9:
            raise RejectRecord("a tenth")
        record.add_header("n", b"%d" % record.value["n"])


def to_json(topic: str, value: Any, headers: Any) -> bytes | None:
    return None if value is None else json.dumps(value).encode()


async def test_what_hooks_made_is_what_lies_there(kafka: KafkaCluster, kafka_topic: str) -> None:
    tracing, plain = Tracing(), Notes()
    async with Producer(
        kafka.bootstrap, interceptors=[tracing, plain], key_serializer=to_json, value_serializer=to_json
    ) as producer:
        result = await producer.send_many(
            [ProducerRecord(kafka_topic, {"n": number}, key=[number % 7]) for number in range(RECORDS)]
        )
        metadata = await producer.send(kafka_topic, {"n": RECORDS})
    lying = {(record.partition, record.offset): record for record in await kafka.read(kafka_topic)}
    failed = dict(result.failed)
    assert sorted(failed) == list(range(9, RECORDS, 10))
    assert {type(error) for error in failed.values()} == {RecordRejectedError}
    for number in range(RECORDS):
        if number not in failed:
            record = lying.pop((result[number].partition, result[number].offset))
            assert json.loads(record.value or b"") == {"n": number}
            assert json.loads(record.key or b"") == [number % 7]
            assert record.headers == (("n", b"%d" % number),)
    assert list(lying) == [(metadata.partition, metadata.offset)]
    assert len(tracing.told) == len(tracing.shown) == RECORDS + 1
    acknowledged = [result[number] for number in range(RECORDS) if number not in failed]
    assert {told for told, error in plain.told if error is None} == {*acknowledged, metadata}
    assert len(plain.told) == len(acknowledged) + 1


async def test_a_batch_that_is_divided(kafka: KafkaCluster, kafka_topic: str) -> None:
    notes = Notes()
    topic = f"{kafka_topic}-small"
    await kafka.create_topic(topic, partitions=1, config={"max.message.bytes": "2000"})
    async with Producer(kafka.bootstrap, interceptors=[notes]) as producer:
        values = [b"x" * 100] * 60 + [b"x" * 3000] + [b"x" * 100] * 60
        result = await producer.send_many(topic, values)
    await kafka.delete_topic(topic)
    assert [(index, type(error)) for index, error in result.failed] == [(60, MessageTooLargeError)]
    assert notes.errors.count(MessageTooLargeError) == 1
    assert sorted(metadata.offset for metadata, _ in notes.told) == list(range(-1, 120))

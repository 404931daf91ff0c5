"""What the pages on migration say behaves differently does: the same wrong or odd record, by each library."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, ProducerClosed
from confluent_kafka import KafkaException, Producer
from confluent_kafka.aio import AIOProducer

import krafka

with warnings.catch_warnings():
    # kafka-python reads its messages' definitions by functions that Python 3.11 deprecates.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    import kafka.errors
    from kafka import KafkaProducer

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

pytestmark = pytest.mark.kafka

SECONDS = 60.0
NOBODY = "localhost:1"
RECORDS: dict[str, dict[str, Any]] = {
    "neither key nor value": {},
    "text": {"value": "two coffees"},
    "no such partition": {"value": b"x", "partition": 1000},
    "too large": {"value": b"x" * 2_000_000},
    "headers in a mapping": {"value": b"x", "headers": {"till": b"3"}},
    "a header without a value": {"value": b"x", "headers": [("till", None)]},
}
OUTCOMES: dict[str, dict[str, type[BaseException] | None]] = {
    "krafka": {
        "text": krafka.RecordValidationError,
        "no such partition": krafka.RecordValidationError,
        "too large": krafka.RecordTooLargeError,
    },
    "aiokafka": {
        "neither key nor value": AssertionError,
        "text": TypeError,
        "no such partition": AssertionError,
        "too large": MessageSizeTooLargeError,
        "headers in a mapping": TypeError,
    },
    "kafka-python": {
        "neither key nor value": ValueError,
        "text": TypeError,
        "no such partition": ValueError,
        "too large": kafka.errors.MessageSizeTooLargeError,
        "headers in a mapping": TypeError,
        "a header without a value": TypeError,
    },
    "confluent-kafka": {"too large": KafkaException},
}
"""Which error each library has for a record; none where it is written, or where its callback tells."""


def raised(error: BaseException | None) -> type[BaseException] | None:
    return None if error is None else type(error)


async def by_krafka(kafka: KafkaCluster, topic: str) -> dict[str, BaseException | None]:
    found: dict[str, BaseException | None] = dict.fromkeys(RECORDS)
    async with krafka.Producer(kafka.bootstrap) as producer:
        for name, record in RECORDS.items():
            try:
                await producer.send(topic, **record)
            except krafka.KafkaError as error:
                found[name] = error
    return found


@pytest.mark.anyio
async def test_krafka(kafka: KafkaCluster, kafka_topic: str) -> None:
    found = await by_krafka(kafka, kafka_topic)
    assert {name: raised(error) for name, error in found.items() if error} == OUTCOMES["krafka"]


async def by_aiokafka(kafka: KafkaCluster, topic: str) -> dict[str, BaseException | None]:
    found: dict[str, BaseException | None] = dict.fromkeys(RECORDS)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    async with producer:
        for name, record in RECORDS.items():
            try:
                await producer.send_and_wait(topic, **record)
            except Exception as error:
                found[name] = error
        assert isinstance(await producer.partitions_for(topic), set)
    with pytest.raises(ProducerClosed):
        await producer.send(topic, b"x")
    return found


def test_aiokafka(kafka: KafkaCluster, kafka_topic: str) -> None:
    found = asyncio.run(by_aiokafka(kafka, kafka_topic))
    assert {name: raised(error) for name, error in found.items() if error} == OUTCOMES["aiokafka"]


def test_kafka_python(kafka: KafkaCluster, kafka_topic: str) -> None:
    found: dict[str, BaseException | None] = {}
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    try:
        for name, record in RECORDS.items():
            try:
                producer.send(kafka_topic, **record).get(SECONDS)
            except Exception as error:
                found[name] = error
    finally:
        producer.close()
    assert {name: raised(error) for name, error in found.items()} == OUTCOMES["kafka-python"]


def test_confluent_kafka(kafka: KafkaCluster, kafka_topic: str) -> None:
    found: dict[str, BaseException | None] = {}
    told: list[Any] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for name, record in RECORDS.items():
        try:
            producer.produce(
                kafka_topic, on_delivery=lambda error, _, name=name: told.append((name, error)), **record
            )
        except Exception as error:
            found[name] = error
    assert producer.flush(SECONDS) == 0
    assert {name: raised(error) for name, error in found.items()} == OUTCOMES["confluent-kafka"]
    assert [(name, error.name()) for name, error in told if error] == [
        ("no such partition", "_UNKNOWN_PARTITION")
    ]
    assert b"two coffees" in {record.value for record in kafka.sync.read(kafka_topic)}


def test_an_error_of_confluents_callback_comes_out_of_flush(kafka: KafkaCluster, kafka_topic: str) -> None:
    def fail(*_: object) -> None:
        raise LookupError("not found")

    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(kafka_topic, b"x", on_delivery=fail)
    with pytest.raises(LookupError, match="not found"):
        producer.flush(SECONDS)


async def headers_by_aioproducer(kafka: KafkaCluster, topic: str) -> None:
    async with AIOProducer({"bootstrap.servers": kafka.bootstrap}) as producer:
        with pytest.raises(NotImplementedError):
            await producer.produce(topic, b"x", headers=[("till", b"3")])


def test_confluents_aioproducer_takes_no_headers(kafka: KafkaCluster, kafka_topic: str) -> None:
    asyncio.run(headers_by_aioproducer(kafka, kafka_topic))


async def without_a_cluster() -> None:
    producer = AIOKafkaProducer(bootstrap_servers=NOBODY)
    with pytest.raises(KafkaConnectionError):
        await producer.start()
    await producer.stop()

    async with krafka.Producer(NOBODY, max_block=0.5) as ours:
        with pytest.raises(krafka.MetadataTimeoutError) as caught:
            await ours.partitions_for("orders")
        assert isinstance(caught.value.__cause__, krafka.ConnectionFailedError)


def test_opening_fails_only_where_the_page_says() -> None:
    asyncio.run(without_a_cluster())
    # In a process of its own: it leaves sockets open.
    program = f"import kafka; kafka.KafkaProducer(bootstrap_servers={NOBODY!r}, bootstrap_timeout_ms=500)"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert finished.returncode == 1
    assert "kafka.errors.KafkaTimeoutError: " in finished.stderr


@pytest.mark.anyio
async def test_closing_at_once_fails_what_is_left(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with krafka.Producer(kafka.bootstrap, linger=60.0) as producer:
        await producer.partitions_for(kafka_topic)
        delivery = producer.enqueue_nowait(kafka_topic, b"x")
        with pytest.raises(krafka.CloseTimeoutError):
            await producer.close(timeout=0)
    assert isinstance(delivery.exception, krafka.ProducerClosedError)

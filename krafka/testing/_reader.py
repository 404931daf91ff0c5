"""Reads a topic back through librdkafka, a client that shares no code with the one under test.

librdkafka was chosen over Kafka's console consumer, whose output cannot tell None from an empty value, and
over aiokafka, which runs on asyncio only: it keeps null and empty apart for keys, values and headers, checks
every batch's checksum, knows transactions, and reads some hundred thousand records a second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, cast

from krafka.testing.errors import KafkaClusterError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import Consumer, Message

READ_UNCOMMITTED = "read_uncommitted"
READ_COMMITTED = "read_committed"
POLL_SECONDS = 0.1
POLL_RECORDS = 5_000
PARTITION_EOF = -191


class ConsumedRecord(NamedTuple):
    """One record as it lies in the log. ``timestamp`` is epoch milliseconds, -1 where the record has none."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def read_records(
    bootstrap: str,
    topic: str,
    starts: Mapping[int, int],
    ends: Mapping[int, int],
    *,
    isolation: str,
    timeout: float,
    checkpoint: Callable[[], None],
) -> list[ConsumedRecord]:
    """Return the records of each partition from its start up to, not including, its end offset.

    Sorted by partition and offset. ``checkpoint`` is called between polls and may raise to give up. Raises
    KafkaClusterError when ``timeout`` seconds pass first, or the consumer reports an error.
    """
    if isolation not in {READ_UNCOMMITTED, READ_COMMITTED}:
        raise ValueError(
            f"isolation is {isolation!r}, but must be {READ_UNCOMMITTED!r} or {READ_COMMITTED!r}"
        )
    remaining = {partition: ends[partition] for partition, start in starts.items() if start < ends[partition]}
    if not remaining:
        return []
    try:
        from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415  # an optional package
    except ModuleNotFoundError as error:
        raise MissingExtraError("confluent-kafka", "reading records back") from error
    consumer = Consumer(_settings(bootstrap, isolation))
    try:
        consumer.assign([TopicPartition(topic, partition, starts[partition]) for partition in remaining])
        return _consume(consumer, topic, remaining, time.monotonic() + timeout, timeout, checkpoint)
    finally:
        consumer.close()


def _settings(bootstrap: str, isolation: str) -> dict[str, str | int | bool]:
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "krafka-testing-reader",
        "isolation.level": isolation,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "check.crcs": True,
        "allow.auto.create.topics": False,
        "fetch.wait.max.ms": 20,
        "queued.min.messages": 100_000,
        "log_level": 2,
    }


def _consume(
    consumer: Consumer,
    topic: str,
    remaining: dict[int, int],
    deadline: float,
    timeout: float,
    checkpoint: Callable[[], None],
) -> list[ConsumedRecord]:
    records: list[ConsumedRecord] = []
    ends = dict(remaining)
    while remaining:
        checkpoint()
        if time.monotonic() > deadline:
            raise KafkaClusterError(
                f"topic {topic!r} was not read to its end within {timeout:g} s: {len(records)} records read, "
                f"partitions missing up to these offsets: {remaining}"
            )
        for message in consumer.consume(POLL_RECORDS, POLL_SECONDS):
            partition, offset = message.partition(), message.offset()
            if partition is None or offset is None:
                raise KafkaClusterError(f"reading topic {topic!r} failed: {message.error()}")
            error = message.error()
            if error is None:
                if offset < ends[partition]:
                    records.append(_convert(message, partition, offset))
                reached = offset + 1
            elif error.code() == PARTITION_EOF:
                # Control records and, for committed readers, open transactions lie between here and the end.
                reached = ends[partition]
            else:
                raise KafkaClusterError(f"reading topic {topic!r} partition {partition} failed: {error}")
            if partition in remaining and reached >= remaining[partition]:
                del remaining[partition]
    records.sort(key=lambda record: (record.partition, record.offset))
    return records


def _convert(message: Message, partition: int, offset: int) -> ConsumedRecord:
    # The stubs describe what may be produced; what is consumed is always a list of pairs with bytes or None.
    pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    headers = tuple(pairs)
    return ConsumedRecord(partition, offset, message.timestamp()[1], message.key(), message.value(), headers)

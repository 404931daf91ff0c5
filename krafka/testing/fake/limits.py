"""What a topic's settings refuse: batches too large, records without keys, times out of range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.errors import InvalidRecordError, InvalidTimestampError, MessageTooLargeError
from krafka.testing.fake.batches import BatchRefusedError

if TYPE_CHECKING:
    from krafka.testing.fake.batches import Batch
    from krafka.testing.fake.topics import FakeTopic

_NO_TIMESTAMP = -1


def check_size(topic: FakeTopic, data: bytes) -> None:
    """Refuse a batch over `max.message.bytes`, its header counted, before anything else in it is looked at."""
    if len(data) > topic.max_message_bytes:
        raise BatchRefusedError(
            MessageTooLargeError,
            f"the batch has {len(data)} bytes, max.message.bytes is {topic.max_message_bytes}",
            tells_log_start=False,
        )


def check_records(topic: FakeTopic, batch: Batch, now_ms: int) -> None:
    """Refuse a batch for its records, and say which they are (KIP-467).

    Of a record that lacks a key only that is told. One timestamp out of range makes it INVALID_TIMESTAMP for all.
    """
    keyless: dict[int, str] = {}
    if topic.is_compacted:
        keyless = {
            index: f"Compacted topic cannot accept message without key in topic partition {topic.name}"
            for index, record in enumerate(batch.records)
            if record.key is None
        }
    untimely = {} if topic.stamps_append_time else _untimely(topic, batch, now_ms)
    errors = {**untimely, **keyless}
    if len(errors) > len(keyless):
        raise BatchRefusedError(
            InvalidTimestampError, "One or more records have been rejected due to invalid timestamp", errors
        )
    if errors:
        raise BatchRefusedError(
            InvalidRecordError,
            f"One or more records have been rejected due to {len(errors)} record errors",
            errors,
        )


def _untimely(topic: FakeTopic, batch: Batch, now_ms: int) -> dict[int, str]:
    before, after = topic.timestamp_bounds
    earliest, latest = now_ms - before, now_ms + after
    return {
        index: f"Timestamp {record.timestamp} is out of range: it should be within [{earliest}, {latest}]"
        for index, record in enumerate(batch.records)
        if record.timestamp != _NO_TIMESTAMP and not earliest <= record.timestamp <= latest
    }

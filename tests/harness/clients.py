"""Producing with librdkafka, so that the harness is tested without the producer it will test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECONDS = 90.0
"""How long anything may take on a machine that has other things to do."""
Header = tuple[str, bytes | None]


def produce(
    bootstrap: str,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None, Sequence[Header]]],
    *,
    partition: int = 0,
    **settings: Any,
) -> None:
    """Produce (key, value, headers) records to one partition and see every one of them acknowledged."""
    failures: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    options = {
        # Without it librdkafka's retries reorder.
        "enable.idempotence": True,
        "queue.buffering.max.messages": 500_000,
        "message.max.bytes": 2_000_000,
        "linger.ms": 1,
        "log_level": 0,
        # By default it gives a record up after five minutes, a test not before a broker that is slow to answer.
        "message.timeout.ms": int(SECONDS * 1000),
    }
    producer = Producer({"bootstrap.servers": bootstrap, **options, **settings})
    for key, value, headers in records:
        producer.produce(topic, value, key, partition, headers=list(headers), on_delivery=delivered)
    left = producer.flush(SECONDS + 5)
    assert not failures, failures[0]
    assert left == 0

"""A producer on a fake cluster, in a hurry, and what such tests ask of the log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio

from krafka import Producer
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from krafka import Delivery, KafkaError
    from krafka.testing import FakeRecord, Fault

TOPIC = "orders"
HURRIED: dict[str, Any] = {
    "retry_backoff": 0.001,
    "retry_backoff_max": 0.01,
    "reconnect_backoff": 0.001,
    "reconnect_backoff_max": 0.01,
}
ONE_RECORD_A_BATCH = 64
"""A batch size with which each of `numbered`'s records has a batch of its own."""


@contextlib.asynccontextmanager
async def faulty(
    brokers: int = 1,
    partitions: int = 1,
    *,
    cluster: dict[str, Any] | None = None,
    faults: Iterable[Fault] = (),
    ready: bool = True,
    **options: Any,
) -> AsyncIterator[tuple[FakeCluster, Producer]]:
    """A cluster with the topic `TOPIC` and a producer on it, which knows the topic if `ready`; a minute for all."""
    async with FakeCluster(brokers, **(cluster or {})) as fake:
        fake.create_topic(TOPIC, partitions)
        for fault in faults:
            fake.script.add(fault)
        with anyio.fail_after(60):
            async with Producer(
                fake.bootstrap, connector=fake.connector, **{**HURRIED, **options}
            ) as producer:
                if ready:
                    await producer.partitions_for(TOPIC)
                yield fake, producer


def numbered(numbers: Iterable[int]) -> list[bytes]:
    """Distinct values of 50 bytes and more."""
    return [b"%d:" % number + b"x" * 50 for number in numbers]


def numbers(records: Iterable[FakeRecord]) -> list[int]:
    """The numbers of records with `numbered` values."""
    return [int((record.value or b"").split(b":")[0]) for record in records]


async def enqueue(producer: Producer, values: Iterable[bytes], partition: int = 0) -> list[Delivery]:
    return [await producer.enqueue(TOPIC, value, partition=partition) for value in values]


async def offsets(deliveries: Iterable[Delivery]) -> list[int]:
    return [(await delivery).offset for delivery in deliveries]


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it was caused by."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__


async def error_of(delivery: Delivery) -> KafkaError | None:
    """How a delivery ended; None for well."""
    with contextlib.suppress(Exception):
        await delivery
    return delivery.exception

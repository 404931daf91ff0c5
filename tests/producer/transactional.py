"""A producer of transactions on a fake cluster, in a hurry, and what its tests ask of the logs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
from faulty import HURRIED, TOPIC

from krafka import TransactionalProducer, TransactionTimeoutError
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from krafka import TransactionState

NAME = "billing-1"
GROUP = "billing"


@contextlib.asynccontextmanager
async def transactional(
    version: int = 2,
    *,
    brokers: int = 1,
    partitions: int = 1,
    cluster: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[FakeCluster, TransactionalProducer]]:
    """A cluster with the topic `TOPIC` and an open producer on it; a minute for all."""
    async with FakeCluster(brokers, transaction_version=version, **(cluster or {})) as fake:
        fake.create_topic(TOPIC, partitions)
        enters = options.pop("init_on_enter", True)
        with anyio.fail_after(60):
            async with producer_on(fake, init_on_enter=False, **options) as producer:
                if enters:
                    await initialize(producer)
                yield fake, producer


async def initialize(producer: TransactionalProducer) -> None:
    """As entering does, and again where a `max_block` for the test's sake is too short for a slow machine."""
    while True:
        try:
            await producer.init_transactions()
        except TransactionTimeoutError:
            continue
        return


def producer_on(fake: FakeCluster, **options: Any) -> TransactionalProducer:
    chosen: dict[str, Any] = {"transactional_id": NAME, **HURRIED, **options}
    return TransactionalProducer(fake.bootstrap, connector=fake.connector, **chosen)


def committed(fake: FakeCluster) -> list[bytes | None]:
    """What a consumer that reads committed records is given."""
    return [record.value for record in fake.log(TOPIC, committed=True)]


def written(fake: FakeCluster) -> list[bytes | None]:
    """Everything in the logs."""
    return [record.value for record in fake.log(TOPIC)]


def epoch_of(fake: FakeCluster) -> int:
    """The epoch that the coordinator knows."""
    return fake.transactions[NAME].producer_epoch


def state_of(producer: TransactionalProducer) -> TransactionState:
    """The state as of now; of a property the type checker believes that it stays."""
    return producer.transaction_state


def epochs(fake: FakeCluster) -> dict[bytes | None, int]:
    """The epoch of each value in the logs."""
    return {record.value: record.producer_epoch for record in fake.log(TOPIC)}

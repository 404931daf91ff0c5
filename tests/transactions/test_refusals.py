"""Records that a transaction did not take: it is not committed without them, if they were meant for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka import TransactionalProducer, TransactionState
from krafka.errors import InvalidTransactionStateError, ProducerClosedError, RecordTooLargeError
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

TOPIC = "orders"
TOO_LARGE = b"v" * 2000


@contextlib.asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[FakeCluster, TransactionalProducer]]:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC)
        with anyio.fail_after(60):
            async with TransactionalProducer(
                cluster.bootstrap,
                connector=cluster,
                transactional_id="billing-1",
                max_request_size=1000,
                **options,
            ) as producer:
                await producer.partitions_for(TOPIC)
                yield cluster, producer


async def test_a_record_refused_in_bulk_fails_the_transaction_before_the_others_are_answered() -> None:
    async with opened() as (_, producer), anyio.create_task_group() as tasks:
        await producer.begin_transaction()
        goes_on = anyio.Event()

        async def values() -> AsyncIterator[bytes]:
            yield TOO_LARGE
            await goes_on.wait()

        tasks.start_soon(producer.send_many, TOPIC, values())
        await anyio.wait_all_tasks_blocked()
        assert producer.transaction_state is TransactionState.ABORTABLE_ERROR
        with pytest.raises(RecordTooLargeError):
            await producer.commit_transaction()
        await producer.abort_transaction()
        goes_on.set()


async def test_a_bulk_that_comes_while_a_commit_is_under_way_leaves_it_alone() -> None:
    async with opened() as (cluster, producer), anyio.create_task_group() as tasks:
        await producer.begin_transaction()
        await producer.send(TOPIC, b"v")
        held = cluster.fail("EndTxn", hold=True)
        tasks.start_soon(producer.commit_transaction)
        await held.struck()
        result = await producer.send_many(TOPIC, [b"late"])
        assert [type(error) for _, error in result.failed] == [InvalidTransactionStateError]
        assert producer.transaction_state is TransactionState.COMMITTING
        held.release()
    assert [record.value for record in cluster.topics[TOPIC].partitions[0].log.committed()] == [b"v"]


async def test_a_record_refused_by_a_producer_that_closes_leaves_the_commit_alone() -> None:
    async with opened() as (cluster, producer), anyio.create_task_group() as tasks:
        await producer.begin_transaction()
        await producer.send(TOPIC, b"v")
        held = cluster.fail("EndTxn", hold=True)
        tasks.start_soon(producer.commit_transaction)
        await held.struck()
        tasks.start_soon(producer.close)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ProducerClosedError):
            await producer.send(TOPIC, b"late")
        assert producer.transaction_state is TransactionState.COMMITTING
        held.release()
    assert [record.value for record in cluster.topics[TOPIC].partitions[0].log.committed()] == [b"v"]

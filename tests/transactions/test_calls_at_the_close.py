"""Calls that change a transaction while the producer is closed: they are waited for, or end with it, and say how."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka import KafkaError, TransactionalProducer, TransactionState
from krafka.errors import CloseTimeoutError, ProducerClosedError
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

TOPIC = "orders"


@contextlib.asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[FakeCluster, TransactionalProducer]]:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC)
        with anyio.fail_after(60):
            async with TransactionalProducer(
                cluster.bootstrap,
                connector=cluster,
                transactional_id="billing-1",
                retry_backoff=0.001,
                retry_backoff_max=0.01,
                **options,
            ) as producer:
                yield cluster, producer


async def outcome_of(call: Any, outcomes: list[KafkaError | None]) -> None:
    try:
        await call
    except KafkaError as error:
        outcomes.append(error)
    else:
        outcomes.append(None)


async def test_close_waits_for_the_commit_that_is_under_way() -> None:
    outcomes: list[KafkaError | None] = []
    async with opened() as (cluster, producer), anyio.create_task_group() as tasks:
        await producer.begin_transaction()
        await producer.enqueue(TOPIC, b"v")
        held = cluster.fail("EndTxn", hold=True)
        tasks.start_soon(outcome_of, producer.commit_transaction(), outcomes)
        await held.struck()
        tasks.start_soon(producer.close)
        await anyio.wait_all_tasks_blocked()
        held.release()
    assert outcomes == [None]
    assert [record.value for record in cluster.topics[TOPIC].partitions[0].log.committed()] == [b"v"]


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "abort"])
async def test_a_call_ends_with_the_producer_and_says_what_it_leaves(commits: bool) -> None:
    outcomes: list[KafkaError | None] = []
    async with opened() as (cluster, producer), anyio.create_task_group() as tasks:
        await producer.begin_transaction()
        await producer.send(TOPIC, b"v")
        held = cluster.fail("EndTxn", hold=True)
        call = producer.commit_transaction() if commits else producer.abort_transaction()
        tasks.start_soon(outcome_of, call, outcomes)
        await held.struck()
        with pytest.raises(CloseTimeoutError):
            await producer.close(timeout=0.01)
        assert producer.transaction_state is TransactionState.FATAL_ERROR
    (error,) = outcomes
    assert isinstance(error, ProducerClosedError)
    assert error.possibly_written is commits


async def test_a_call_that_looks_for_its_coordinator_ends_with_the_producer() -> None:
    outcomes: list[KafkaError | None] = []
    async with opened(init_on_enter=False) as (cluster, producer), anyio.create_task_group() as tasks:
        cluster.fail("FindCoordinator", times=None, code=15)
        tasks.start_soon(outcome_of, producer.init_transactions(), outcomes)
        await anyio.sleep(0.02)
        cluster.stop_broker(1)
        with anyio.move_on_after(0.02):
            await producer.close()
    assert [type(error) for error in outcomes] == [ProducerClosedError]

"""A transaction that is ended before the one before it is complete, or before all of it had its turn."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from krafka import TopicPartition, TransactionalProducer
from krafka.errors import TransactionAbortedError, TransactionTimeoutError
from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio

TOPIC = "orders"
OPTIONS: dict[str, Any] = {"transactional_id": "billing-1", "retry_backoff": 0.001, "retry_backoff_max": 0.01}


async def abort(producer: TransactionalProducer, ended: anyio.Event) -> None:
    await producer.abort_transaction()
    ended.set()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("is_sent", [False, True], ids=["unsent", "refused"])
async def test_an_abort_while_markers_are_written(version: int, is_sent: bool) -> None:
    async with FakeCluster(transaction_version=version) as cluster, anyio.create_task_group() as tasks:
        cluster.create_topic(TOPIC)
        ended = anyio.Event()
        async with TransactionalProducer(cluster.bootstrap, connector=cluster, **OPTIONS) as producer:
            async with producer.transaction():
                await producer.send(TOPIC, b"first")
                cluster.hold_markers()
            await producer.begin_transaction()
            delivery = await producer.enqueue(TOPIC, b"second")
            if is_sent:
                api = "Produce" if version > 1 else "AddPartitionsToTxn"
                asked = cluster.requests[api]
                await cluster.until(lambda: cluster.requests[api] > asked + 1)
            tasks.start_soon(abort, producer, ended)
            with anyio.fail_after(10), pytest.raises(TransactionAbortedError):
                await delivery
            await anyio.sleep(0.02)
            cluster.release_markers()
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(10):
                await ended.wait()
                async with producer.transaction():
                    await producer.send(TOPIC, b"third")
        log = cluster.topics[TOPIC].partitions[0].log
        assert [record.value for record in log.committed()] == [b"first", b"third"]


async def test_offsets_that_never_had_their_turn_keep_the_transaction_from_being_committed() -> None:
    async with FakeCluster(transaction_version=1) as cluster:
        cluster.create_topic(TOPIC)
        async with TransactionalProducer(
            cluster.bootstrap, connector=cluster, max_block=0.1, **OPTIONS
        ) as producer:
            await producer.begin_transaction()
            held = cluster.fail("AddPartitionsToTxn", hold=True)
            await producer.enqueue(TOPIC, b"v")
            await held.struck()
            with pytest.raises(TransactionTimeoutError, match="can only be aborted") as raised:
                await producer.send_offsets_to_transaction({TopicPartition(TOPIC, 0): 7}, "group")
            held.release()
            with pytest.raises(TransactionTimeoutError) as refused:
                await producer.commit_transaction()
            assert str(refused.value) == str(raised.value)
            await producer.abort_transaction()
        assert cluster.committed_offsets("group") == {}

"""Answers of coordinators: what they leave of the transaction and of the producer."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from krafka import KafkaError, TopicPartition, TransactionalProducer, TransactionState
from krafka.errors import (
    CommitOutcomeUnknownError,
    TransactionalIdAuthorizationFailedError,
    UnknownServerError,
)
from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio

TOPIC = "orders"
OPTIONS: dict[str, Any] = {"transactional_id": "billing-1", "retry_backoff": 0.001, "retry_backoff_max": 0.01}


async def test_who_finds_coordinators_is_asked_again_until_it_knows() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC)
        async with (
            TransactionalProducer(cluster.bootstrap, connector=cluster, **OPTIONS) as producer,
            producer.transaction(),
        ):
            cluster.fail("FindCoordinator", code=16, times=3)
            await producer.send_offsets_to_transaction({TopicPartition(TOPIC, 0): 7}, "group")
        assert cluster.committed_offsets("group") == {(TOPIC, 0): 7}


@pytest.mark.parametrize("code", [48, 49, 59, -1])
async def test_what_ends_the_producer_says_so(code: int) -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC)
        async with TransactionalProducer(cluster.bootstrap, connector=cluster, **OPTIONS) as producer:
            await producer.begin_transaction()
            await producer.send(TOPIC, b"v")
            cluster.fail("EndTxn", code=code)
            with anyio.fail_after(10), pytest.raises(KafkaError) as raised:
                await producer.abort_transaction()
            assert raised.value.is_fatal
            assert producer.transaction_state is TransactionState.FATAL_ERROR


@pytest.mark.parametrize("code", [7, 15, 16])
async def test_a_commit_that_a_coordinator_was_not_sure_of_is_in_doubt_until_it_is(code: int) -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC)
        async with TransactionalProducer(
            cluster.bootstrap, connector=cluster, max_block=0.2, **OPTIONS
        ) as producer:
            await producer.begin_transaction()
            await producer.send(TOPIC, b"v")
            unsure = cluster.fail("EndTxn", code=code, times=None, after_append=True)
            with pytest.raises(CommitOutcomeUnknownError):
                await producer.commit_transaction()
            assert producer.transaction_state is TransactionState.COMMITTING
            cluster.heal(unsure)
            await producer.commit_transaction()
        assert [record.value for record in cluster.topics[TOPIC].partitions[0].log.committed()] == [b"v"]


async def test_a_commit_that_ended_in_an_unknown_error_may_have_happened() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC)
        async with TransactionalProducer(cluster.bootstrap, connector=cluster, **OPTIONS) as producer:
            await producer.begin_transaction()
            await producer.send(TOPIC, b"v")
            cluster.fail("EndTxn", code=-1, after_append=True)
            with pytest.raises(UnknownServerError) as raised:
                await producer.commit_transaction()
            assert raised.value.possibly_written


async def test_an_id_that_may_not_be_used_yet_is_no_end() -> None:
    async with (
        FakeCluster() as cluster,
        TransactionalProducer(
            cluster.bootstrap, connector=cluster, init_on_enter=False, **OPTIONS
        ) as producer,
    ):
        cluster.fail("InitProducerId", code=53)
        with pytest.raises(TransactionalIdAuthorizationFailedError) as raised:
            await producer.init_transactions()
        assert not raised.value.is_fatal
        await producer.init_transactions()
        assert producer.transaction_state is TransactionState.READY

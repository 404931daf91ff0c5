"""Transactions that follow each other at once: what is sent while the one before is being completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from faulty import TOPIC
from transactional import committed, epochs, transactional

from krafka import (
    ConcurrentTransactionsError,
    TransactionAbortedError,
    TransactionalIdAuthorizationFailedError,
)
from krafka._io import completion

if TYPE_CHECKING:
    from krafka import TransactionalProducer
    from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio


async def one_after_the_other(producer: TransactionalProducer, *values: bytes) -> None:
    for value in values:
        async with producer.transaction():
            await producer.send(TOPIC, value)


async def questions_while_held(fake: FakeCluster, producer: TransactionalProducer) -> int:
    """How often it is asked in 50 ms whether the transaction before is completed, which it is only after that."""
    fake.hold_markers()
    await one_after_the_other(producer, b"1")
    produced = fake.requests["Produce"]
    await producer.begin_transaction()
    delivery = await producer.enqueue(TOPIC, b"2")
    await anyio.sleep(0.05)
    assert fake.requests["Produce"] == produced
    asked = fake.requests["DescribeTransactions"]
    fake.release_markers()
    await delivery
    await producer.commit_transaction()
    assert fake.requests["Produce"] == produced + 1
    return asked


async def test_records_are_not_sent_before_the_transaction_before_is_completed() -> None:
    async with transactional(retry_backoff=0.1, retry_backoff_max=1.0) as (fake, producer):
        asked = await questions_while_held(fake, producer)
        # At once twice, then after 1, 2, 4, 8 and 16 ms or more.
        assert 3 <= asked <= 8
        assert committed(fake) == [b"1", b"2"]
        assert fake.requests["InitProducerId"] == 1


async def test_a_completed_transaction_is_asked_about_once() -> None:
    async with transactional(partitions=3) as (fake, producer):
        await one_after_the_other(producer, b"1", b"2", b"3")
        assert fake.requests["DescribeTransactions"] == 2
        assert committed(fake) == [b"1", b"2", b"3"]


async def test_version_one_asks_nothing_more_than_to_add_partitions() -> None:
    async with transactional(1) as (fake, producer):
        await one_after_the_other(producer, b"1", b"2")
        assert fake.requests["DescribeTransactions"] == 0
        assert fake.requests["AddPartitionsToTxn"] == 2


async def test_a_transaction_that_ended_long_ago_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "COMPLETION", 0.01)
    async with transactional() as (fake, producer):
        await one_after_the_other(producer, b"1")
        await anyio.sleep(0.02)
        await one_after_the_other(producer, b"2")
        assert fake.requests["DescribeTransactions"] == 0


async def test_a_completion_that_takes_long_is_left_to_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "COMPLETION", 0.03)
    async with transactional() as (fake, producer):
        fake.hold_markers()
        await one_after_the_other(producer, b"1")
        too_early = fake.fail("Produce", code=ConcurrentTransactionsError)
        await producer.begin_transaction()
        delivery = await producer.enqueue(TOPIC, b"2")
        with anyio.fail_after(5):
            await too_early.struck()
        fake.release_markers()
        await delivery
        await producer.commit_transaction()
        assert committed(fake) == [b"1", b"2"]


@pytest.mark.parametrize("trouble", ["refused", "unknown", "lost"])
async def test_a_question_without_an_answer_holds_nothing_up(trouble: str) -> None:
    cluster = {"api_versions": {"DescribeTransactions": None}} if trouble == "unknown" else {}
    async with transactional(cluster=cluster, request_timeout=0.05) as (fake, producer):
        await one_after_the_other(producer, b"1")
        if trouble == "refused":
            fake.fail("DescribeTransactions", code=TransactionalIdAuthorizationFailedError, times=None)
        elif trouble == "lost":
            fake.fail("DescribeTransactions", after_append=True, disconnect=True, times=None)
        with anyio.fail_after(2):
            await one_after_the_other(producer, b"2", b"3")
        # Nothing is in doubt for that: there is no epoch but those that commits gave.
        assert fake.requests["InitProducerId"] == 1
        assert [epochs(fake)[value] for value in (b"1", b"2", b"3")] == [0, 1, 2]


@pytest.mark.parametrize("answers", [True, False])
async def test_an_abort_ends_the_wait_and_asks_for_nothing(answers: bool) -> None:
    async with transactional() as (fake, producer):
        fake.hold_markers()
        await one_after_the_other(producer, b"1")
        silent = None if answers else fake.fail("DescribeTransactions", hold=True, times=None)
        await producer.begin_transaction()
        delivery = await producer.enqueue(TOPIC, b"2")
        await anyio.sleep(0.01)
        ended = fake.requests["EndTxn"]
        with anyio.fail_after(0.08):
            await producer.abort_transaction()
        with pytest.raises(TransactionAbortedError):
            await delivery
        assert fake.requests["EndTxn"] == ended
        fake.release_markers()
        if silent is not None:
            fake.heal(silent)
        await one_after_the_other(producer, b"3")
        assert committed(fake) == [b"1", b"3"]


async def test_what_comes_too_early_is_repeated_at_once_and_then_ever_later() -> None:
    async with transactional(retry_backoff=0.1, retry_backoff_max=0.1) as (_, producer):
        engine = producer._engine_or_none
        assert engine is not None
        waits = [engine.backoff(attempt, ConcurrentTransactionsError("too early")) for attempt in range(5)]
        assert waits == [0.0, 0.001, 0.002, 0.004, 0.008]
        assert 0.05 < engine.backoff(40, ConcurrentTransactionsError("too early")) < 0.2

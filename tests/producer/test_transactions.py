"""Transactions on a fake cluster: what becomes visible, what is refused when, and what a failure leaves."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from faulty import TOPIC
from transactional import GROUP, NAME, committed, producer_on, state_of, transactional, written

import krafka
from krafka import (
    ConfigError,
    ConsumerGroupMetadata,
    InvalidTransactionStateError,
    OffsetAndMetadata,
    Producer,
    ProducerClosedError,
    ProducerFencedError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    TopicPartition,
    TransactionAbortableError,
    TransactionAbortedError,
    TransactionalProducer,
)
from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio
VERSIONS = pytest.mark.parametrize("version", [0, 1, 2])


class BodyError(Exception):
    pass


@VERSIONS
async def test_what_is_committed_is_visible_as_a_whole_and_what_is_aborted_never(version: int) -> None:
    async with transactional(version, brokers=3, partitions=3) as (fake, producer):
        async with producer.transaction() as same:
            assert same is producer
            assert state_of(producer) == "InTransaction"
            for number in range(3):
                await producer.enqueue(TOPIC, b"kept-%d" % number, partition=number)
            await producer.flush()
            assert committed(fake) == []
            await producer.send_offsets_to_transaction({(TOPIC, 0): 7}, GROUP)
            assert fake.committed_offsets(GROUP) == {}
        assert committed(fake) == [b"kept-0", b"kept-1", b"kept-2"]
        assert fake.committed_offsets(GROUP) == {(TOPIC, 0): 7}
        with pytest.raises(BodyError):
            async with producer.transaction():
                await producer.send(TOPIC, b"dropped", partition=1)
                await producer.send_offsets_to_transaction(
                    {TopicPartition(TOPIC, 0): OffsetAndMetadata(9)}, GROUP
                )
                raise BodyError
        assert state_of(producer) == "Ready"
        assert b"dropped" in written(fake)
        assert committed(fake) == [b"kept-0", b"kept-1", b"kept-2"]
        assert fake.committed_offsets(GROUP) == {(TOPIC, 0): 7}
        async with producer.transaction():
            result = await producer.send_many(TOPIC, [b"a", b"b"])
        assert not result.failed
        assert committed(fake)[-2:] == [b"a", b"b"] or {b"a", b"b"} <= set(committed(fake))


@VERSIONS
async def test_every_verb_sends_transactional_batches_in_the_transactions_of_the_cluster(
    version: int,
) -> None:
    async with transactional(version) as (fake, producer):
        async with producer.transaction():
            await producer.send(TOPIC, b"1")
            await producer.send_record(krafka.ProducerRecord(TOPIC, b"2"))
            await producer.enqueue(TOPIC, b"3")
            producer.enqueue_nowait(TOPIC, b"4")
            await producer.send_many(TOPIC, [b"5"])
        records = fake.log(TOPIC)
        assert [record.value for record in records] == [b"1", b"2", b"3", b"4", b"5"]
        assert all(record.transactional for record in records)
        assert [record.sequence for record in records] == [0, 1, 2, 3, 4]
        assert ("AddPartitionsToTxn" in fake.requests) is (version < 2)
        produced = [request for request in fake.received if request.api == "Produce"]
        assert {request.version for request in produced} == ({13} if version == 2 else {11})


@VERSIONS
async def test_a_transaction_without_records_asks_the_coordinator_for_nothing(version: int) -> None:
    async with transactional(version) as (fake, producer):
        async with producer.transaction():
            await producer.flush()
        await producer.begin_transaction()
        await producer.abort_transaction()
        assert "EndTxn" not in fake.requests
        assert state_of(producer) == "Ready"


@VERSIONS
async def test_offsets_alone_are_a_transaction_too(version: int) -> None:
    async with transactional(version) as (fake, producer):
        async with producer.transaction():
            await producer.send_offsets_to_transaction({(TOPIC, 0): 5}, ConsumerGroupMetadata(GROUP))
        assert fake.committed_offsets(GROUP) == {(TOPIC, 0): 5}
        async with producer.transaction():
            await producer.send_offsets_to_transaction({}, GROUP)
        assert ("AddOffsetsToTxn" in fake.requests) is (version < 2)


async def test_records_are_refused_outside_of_a_transaction() -> None:
    async with transactional() as (fake, producer):
        for verb in (producer.send(TOPIC, b"x"), producer.enqueue(TOPIC, b"x")):
            with pytest.raises(InvalidTransactionStateError, match=r"state Ready: .*begin_transaction\(\)"):
                await verb
        with pytest.raises(InvalidTransactionStateError, match="Ready"):
            producer.enqueue_nowait(TOPIC, b"x")
        async with producer.transaction():
            await producer.send(TOPIC, b"y")
        with pytest.raises(InvalidTransactionStateError, match="Ready"):
            await producer.send(TOPIC, b"x")
        assert committed(fake) == [b"y"]


async def test_calls_that_do_not_fit_change_nothing() -> None:
    async with transactional(init_on_enter=False) as (fake, producer):
        for call in (producer.begin_transaction, producer.commit_transaction, producer.abort_transaction):
            with pytest.raises(InvalidTransactionStateError, match=r"Uninitialized.*init_transactions\(\)"):
                await call()
        assert state_of(producer) == "Uninitialized"
        assert fake.transactions == {}
        await producer.init_transactions()
        with pytest.raises(InvalidTransactionStateError):
            await producer.init_transactions()
        await producer.begin_transaction()
        with pytest.raises(InvalidTransactionStateError, match="InTransaction"):
            await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        await producer.commit_transaction()
        with pytest.raises(InvalidTransactionStateError, match="Ready"):
            await producer.abort_transaction()
        assert committed(fake) == [b"x"]


async def test_of_two_tasks_that_commit_one_does() -> None:
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        await producer.enqueue(TOPIC, b"x")
        outcomes: list[str] = []

        async def commit() -> None:
            try:
                await producer.commit_transaction()
                outcomes.append("committed")
            except InvalidTransactionStateError:
                outcomes.append("refused")

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(commit)
            task_group.start_soon(commit)
        assert sorted(outcomes) == ["committed", "refused"]
        assert committed(fake) == [b"x"]


@VERSIONS
async def test_entering_shuts_out_an_older_producer(version: int) -> None:
    async with transactional(version) as (fake, old):
        async with old.transaction():
            await old.send(TOPIC, b"old")
        await old.begin_transaction()
        await old.send(TOPIC, b"left open")
        async with producer_on(fake) as new:
            with pytest.raises(ProducerFencedError, match=f"{NAME!r}.*close this producer") as raised:
                await old.send(TOPIC, b"from the grave")
            assert raised.value.is_fatal
            assert state_of(old) == "FatalError"
            for call in (old.begin_transaction, old.commit_transaction, old.abort_transaction):
                with pytest.raises(ProducerFencedError):
                    await call()
            with pytest.raises(ProducerFencedError):
                await old.send(TOPIC, b"again")
            async with new.transaction():
                await new.send(TOPIC, b"new")
        assert committed(fake) == [b"old", b"new"]


async def test_what_the_body_raises_comes_out_bare_even_where_the_producer_was_shut_out() -> None:
    async with transactional() as (fake, old):
        with pytest.raises(BodyError) as raised:
            async with old.transaction():
                await old.send(TOPIC, b"old")
                async with producer_on(fake):
                    raise BodyError
        assert "could not be aborted" in raised.value.__notes__[0]
        assert state_of(old) == "FatalError"


@VERSIONS
async def test_a_failed_record_leaves_only_the_abort(version: int) -> None:
    async with transactional(version) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"good")
        fake.fail("Produce", code=TopicAuthorizationFailedError)
        await producer.enqueue(TOPIC, b"bad")
        with pytest.raises(TopicAuthorizationFailedError) as raised:
            await producer.commit_transaction()
        assert raised.value.requires_abort
        assert state_of(producer) == "AbortableError"
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.commit_transaction()
        with pytest.raises(TransactionAbortableError) as refused:
            await producer.send(TOPIC, b"more")
        assert isinstance(refused.value.__cause__, TopicAuthorizationFailedError)
        with pytest.raises(TransactionAbortableError):
            await producer.send_offsets_to_transaction({(TOPIC, 0): 1}, GROUP)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert committed(fake) == [b"next"]


async def test_a_failed_record_fails_the_block_after_the_abort() -> None:
    async with transactional() as (fake, producer):
        fake.fail("Produce", code=TopicAuthorizationFailedError)
        with pytest.raises(TopicAuthorizationFailedError):
            async with producer.transaction():
                await producer.enqueue(TOPIC, b"bad")
        assert state_of(producer) == "Ready"
        assert committed(fake) == []


@pytest.mark.parametrize("verb", ["send", "enqueue", "enqueue_nowait", "send_many"])
async def test_a_record_that_was_refused_is_missing_so_that_nothing_is_committed(verb: str) -> None:
    too_large = bytes(2 * 1024 * 1024)
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"good")
        if verb == "send_many":
            result = await producer.send_many(TOPIC, [too_large])
            assert len(result.failed) == 1
        else:
            with pytest.raises(RecordTooLargeError):
                outcome: Any = getattr(producer, verb)(TOPIC, too_large)
                if verb != "enqueue_nowait":
                    await outcome
        with pytest.raises(RecordTooLargeError):
            await producer.commit_transaction()
        await producer.abort_transaction()
        assert committed(fake) == []


async def test_a_record_of_an_aborted_transaction_does_not_fail_the_next() -> None:
    async with transactional(linger=30) as (fake, producer):
        await producer.partitions_for(TOPIC)
        await producer.begin_transaction()
        ended = anyio.Event()

        async def send() -> None:
            with pytest.raises(TransactionAbortedError):
                await producer.send(TOPIC, b"dropped")
            ended.set()

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            await producer.abort_transaction()
            await producer.begin_transaction()
            await ended.wait()
        # Whoever is told later than that is of the transaction before as well.
        producer._note(TransactionAbortedError())
        assert state_of(producer) == "InTransaction"
        await producer.enqueue(TOPIC, b"next")
        await producer.commit_transaction()
        assert committed(fake) == [b"next"]


async def test_a_record_that_only_had_to_wait_fails_nothing() -> None:
    async with transactional(buffer_memory=100_000) as (fake, producer):
        async with producer.transaction():
            with pytest.raises(anyio.WouldBlock):
                producer.enqueue_nowait(TOPIC, b"x")
            await producer.partitions_for(TOPIC)
            producer.enqueue_nowait(TOPIC, b"x")
        assert committed(fake) == [b"x"]


@VERSIONS
async def test_an_abort_drops_what_was_not_sent_and_waits_for_what_was(version: int) -> None:
    async with transactional(version, linger=30, batch_size=200) as (fake, producer):
        await producer.begin_transaction()
        await producer.partitions_for(TOPIC)
        held = fake.fail("Produce", hold=True)
        sent = producer.enqueue_nowait(TOPIC, bytes(300))
        await held.struck()
        unsent = producer.enqueue_nowait(TOPIC, b"lingers")
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(producer.abort_transaction)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(TransactionAbortedError) as raised:
                await unsent
            assert not raised.value.possibly_written
            assert not sent.done
            assert state_of(producer) == "Aborting"
            held.release()
        assert (await sent).offset == 0
        assert written(fake) == [bytes(300)]
        assert committed(fake) == []


async def test_an_abort_ends_those_that_wait_for_memory() -> None:
    async with transactional(buffer_memory=2000, batch_size=500) as (fake, producer):
        await producer.begin_transaction()
        await producer.partitions_for(TOPIC)
        held = fake.fail("Produce", hold=True)
        outcomes: list[str] = []

        async def send() -> None:
            try:
                await producer.send(TOPIC, bytes(400))
            except TransactionAbortedError:
                outcomes.append("aborted")

        async with anyio.create_task_group() as task_group:
            for _ in range(20):
                task_group.start_soon(send)
            await held.struck()
            await anyio.wait_all_tasks_blocked()
            task_group.start_soon(producer.abort_transaction)
            await anyio.wait_all_tasks_blocked()
            held.release()
        assert len(outcomes) >= 10
        assert state_of(producer) == "Ready"
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert committed(fake) == [b"next"]


async def test_a_commit_takes_those_along_that_wait_for_memory() -> None:
    async with transactional(buffer_memory=2000, batch_size=500) as (fake, producer):
        await producer.begin_transaction()
        await producer.partitions_for(TOPIC)
        held = fake.fail("Produce", hold=True)
        async with anyio.create_task_group() as task_group:
            for _ in range(20):
                task_group.start_soon(producer.send, TOPIC, bytes(400))
            await held.struck()
            await anyio.wait_all_tasks_blocked()
            task_group.start_soon(producer.commit_transaction)
            await anyio.wait_all_tasks_blocked()
            held.release()
        assert committed(fake) == [bytes(400)] * 20


@VERSIONS
async def test_a_cancelled_block_is_aborted(version: int) -> None:
    async with transactional(version) as (fake, producer):
        with anyio.CancelScope() as scope:
            async with producer.transaction():
                await producer.send(TOPIC, b"dropped")
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert state_of(producer) == "Ready"
        assert fake.requests["EndTxn"] == 1
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert committed(fake) == [b"next"]


async def test_a_commit_that_is_cancelled_while_records_are_under_way_is_none() -> None:
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        held = fake.fail("Produce", hold=True)
        await producer.enqueue(TOPIC, b"x")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(producer.commit_transaction)
                await held.struck()
                scope.cancel()
        assert state_of(producer) == "InTransaction"
        held.release()
        await producer.enqueue(TOPIC, b"y")
        await producer.commit_transaction()
        assert committed(fake) == [b"x", b"y"]


async def test_a_commit_that_was_asked_for_is_seen_through_though_its_caller_is_cancelled() -> None:
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        held = fake.fail("EndTxn", hold=True)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(producer.commit_transaction)
                await held.struck()
                scope.cancel()
                held.release()
        assert state_of(producer) == "Ready"
        assert committed(fake) == [b"x"]


@VERSIONS
async def test_closing_aborts_the_open_transaction_and_ends_everything(version: int) -> None:
    async with transactional(version) as (fake, producer):
        await producer.begin_transaction()
        delivery = await producer.enqueue(TOPIC, b"x")
        await producer.close()
        await producer.close()
        assert (await delivery).offset == 0
        assert state_of(producer) == "FatalError"
        assert fake.transactions[NAME].state.name == "COMPLETE_ABORT"
        for call in (producer.begin_transaction, producer.commit_transaction, producer.init_transactions):
            with pytest.raises(ProducerClosedError):
                await call()
        assert committed(fake) == []


async def test_closing_waits_for_a_commit_that_is_under_way() -> None:
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        held = fake.fail("EndTxn", hold=True)
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(producer.commit_transaction)
            await held.struck()
            task_group.start_soon(producer.close)
            await anyio.wait_all_tasks_blocked()
            held.release()
        assert committed(fake) == [b"x"]


async def test_a_bounded_close_ends_in_time_though_the_coordinator_is_silent() -> None:
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        fake.fail("EndTxn", hold=True, times=None)
        with anyio.fail_after(10), pytest.raises(krafka.CloseTimeoutError):
            await producer.close(timeout=0.05)
        assert state_of(producer) == "FatalError"


async def test_the_state_before_and_after() -> None:
    async with FakeCluster() as fake:
        producer = producer_on(fake)
        assert state_of(producer) == "Uninitialized"
        async with producer:
            assert state_of(producer) == "Ready"
        assert state_of(producer) == "FatalError"


def test_options_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="transactional_id is missing"):
        TransactionalProducer("localhost:9092")
    with pytest.raises(ConfigError, match="transactional_id is for a TransactionalProducer"):
        Producer("localhost:9092", transactional_id="x")
    for options in ({"acks": "leader"}, {"idempotent": False}, {"max_in_flight": 6}):
        with pytest.raises(ConfigError, match="transactional_id needs idempotence"):
            TransactionalProducer("localhost:9092", transactional_id="x", **options)  # type: ignore[arg-type]
    for options in ({"transactional_id": ""}, {"transactional_id": 7}):
        with pytest.raises(ConfigError, match="transactional_id must be"):
            TransactionalProducer("localhost:9092", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="transaction_timeout must be"):
        TransactionalProducer("localhost:9092", transactional_id="x", transaction_timeout=0)
    config = krafka.ProducerConfig.from_properties(
        {"bootstrap.servers": "a:1", "transactional.id": "x", "transaction.timeout.ms": "1500"}
    )
    assert TransactionalProducer(config).config.transaction_timeout == 1.5


async def test_offsets_that_cannot_be() -> None:
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        for offsets in (
            {(TOPIC, 0): -1},
            {(TOPIC, 0): "5"},
            {TOPIC: 5},
            {(TOPIC, -1): 5},
            [(TOPIC, 0)],
            {(7, 0): 5},
        ):
            with pytest.raises(ConfigError):
                await producer.send_offsets_to_transaction(offsets, GROUP)  # type: ignore[arg-type]
        for group in ("", None, 5):
            with pytest.raises(ConfigError, match="group"):
                await producer.send_offsets_to_transaction({(TOPIC, 0): 5}, group)  # type: ignore[arg-type]
        assert state_of(producer) == "InTransaction"
        await producer.commit_transaction()
        assert fake.committed_offsets(GROUP) == {}

"""Answers that do not come, coordinators that move, epochs that are old: transactions on a fake cluster."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from faulty import TOPIC
from transactional import (
    GROUP,
    NAME,
    committed,
    epoch_of,
    epochs,
    producer_on,
    state_of,
    transactional,
    written,
)

from krafka import (
    CommitOutcomeUnknownError,
    ConcurrentTransactionsError,
    ConnectionFailedError,
    ConsumerGroupMetadata,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    DeliveryTimeoutError,
    IllegalGenerationError,
    InvalidProducerEpochError,
    InvalidRecordError,
    InvalidTransactionStateError,
    InvalidTransactionTimeoutError,
    KafkaError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumberError,
    ProducerFencedError,
    TransactionAbortableError,
    TransactionAbortedError,
    TransactionalIdAuthorizationFailedError,
    TransactionTimeoutError,
)
from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio
VERSIONS = pytest.mark.parametrize("version", [0, 1, 2])
FIRST_TWO = pytest.mark.parametrize("version", [0, 1])


@VERSIONS
async def test_a_commit_without_an_answer_can_only_be_asked_for_again(version: int) -> None:
    async with transactional(version, max_block=0.5) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        fault = fake.fail("EndTxn", after_append=True, disconnect=True, times=None)
        with pytest.raises(CommitOutcomeUnknownError, match=r"commit_transaction\(\) again") as raised:
            await producer.commit_transaction()
        assert raised.value.possibly_written
        assert raised.value.__cause__ is not None
        assert state_of(producer) == "Committing"
        with pytest.raises(InvalidTransactionStateError, match="outcome of the commit is unknown"):
            await producer.abort_transaction()
        with pytest.raises(InvalidTransactionStateError, match="outcome of the commit is unknown"):
            await producer.send(TOPIC, b"y")
        fake.heal(fault)
        await producer.commit_transaction()
        assert state_of(producer) == "Ready"
        assert committed(fake) == [b"x"]


async def test_a_block_whose_commit_is_unknown_does_not_abort() -> None:
    async with transactional(max_block=0.5) as (fake, producer):
        fault = fake.fail("EndTxn", after_append=True, disconnect=True, times=None)
        with pytest.raises(CommitOutcomeUnknownError):
            async with producer.transaction():
                await producer.send(TOPIC, b"x")
        fake.heal(fault)
        assert state_of(producer) == "Committing"
        await producer.commit_transaction()
        assert committed(fake) == [b"x"]


@VERSIONS
async def test_a_commit_that_could_not_be_asked_for_leaves_the_transaction_open(version: int) -> None:
    async with transactional(version, max_block=0.5) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        fake.stop_broker(1)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(TransactionTimeoutError, match="max_block") as raised:
            await producer.commit_transaction()
        assert isinstance(raised.value.__cause__, ConnectionFailedError)
        assert state_of(producer) == "InTransaction"
        fake.start_broker(1)
        await producer.send(TOPIC, b"y")
        await producer.commit_transaction()
        assert committed(fake) == [b"x", b"y"]


@FIRST_TWO
@pytest.mark.parametrize(
    "api", ["EndTxn", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "Produce"]
)
async def test_after_a_request_without_an_answer_comes_a_new_epoch(version: int, api: str) -> None:
    async with transactional(version) as (fake, producer):
        async with producer.transaction():
            await producer.send(TOPIC, b"before")
        before = epoch_of(fake)
        fake.fail(api, after_append=True, disconnect=True)
        async with producer.transaction():
            await producer.send(TOPIC, b"struck")
            await producer.send_offsets_to_transaction({(TOPIC, 0): 1}, GROUP)
        async with producer.transaction():
            await producer.send(TOPIC, b"after")
        assert epochs(fake) == {b"before": before, b"struck": before, b"after": before + 1}
        assert committed(fake) == [b"before", b"struck", b"after"]


@FIRST_TWO
async def test_without_doubt_the_epoch_stays(version: int) -> None:
    async with transactional(version) as (fake, producer):
        for number in range(3):
            async with producer.transaction():
                await producer.send(TOPIC, b"%d" % number)
        await producer.begin_transaction()
        await producer.send(TOPIC, b"3")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(TOPIC, b"4")
        assert set(epochs(fake).values()) == {0}
        assert fake.requests["InitProducerId"] == 1
        assert [record.sequence for record in fake.log(TOPIC)] == [0, 1, 2, 3, 4]


async def test_in_the_second_version_each_transaction_has_an_epoch_of_its_own() -> None:
    async with transactional(2) as (fake, producer):
        for number in range(3):
            async with producer.transaction():
                await producer.send(TOPIC, b"%d" % number)
        assert list(epochs(fake).values()) == [0, 1, 2]
        assert [record.sequence for record in fake.log(TOPIC)] == [0, 0, 0]
        assert fake.requests["InitProducerId"] == 1


@FIRST_TWO
async def test_a_partition_that_may_have_been_added_and_was_not_is_no_reason_to_end(version: int) -> None:
    async with transactional(version, max_block=0.5) as (fake, producer):
        await producer.begin_transaction()
        fault = fake.fail("AddPartitionsToTxn", disconnect=True, times=None)
        delivery = await producer.enqueue(TOPIC, b"x")
        await fault.struck(2)
        await producer.abort_transaction()
        with pytest.raises(TransactionAbortedError):
            await delivery
        fake.heal(fault)
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert written(fake) == committed(fake) == [b"next"]


@VERSIONS
async def test_a_batch_whose_deadline_passed_on_the_wire_ends_nowhere_else(version: int) -> None:
    options: dict[str, Any] = {"delivery_timeout": 0.5, "init_on_enter": False}
    async with transactional(version, brokers=2, **options) as (fake, producer):
        # A broker answers in order, and the coordinator is not to wait for the held batch.
        fake.move_coordinator(NAME, 3 - fake.leader(TOPIC, 0))
        await producer.init_transactions()
        await producer.begin_transaction()
        await producer.send(TOPIC, b"good")
        held = fake.fail("Produce", hold=True, after_append=True)
        with pytest.raises(DeliveryTimeoutError) as raised:
            await producer.send(TOPIC, b"late")
        assert raised.value.possibly_written
        await producer.abort_transaction()
        await producer.begin_transaction()
        # The answer to the old batch is still to come, and the next transaction waits for it.
        next_one = await producer.enqueue(TOPIC, b"next")
        held.release()
        await next_one
        await producer.commit_transaction()
        assert committed(fake) == [b"next"]
        assert epochs(fake)[b"next"] > epochs(fake)[b"good"]


@VERSIONS
@pytest.mark.parametrize("code", [NotCoordinatorError, CoordinatorNotAvailableError])
async def test_a_coordinator_that_moved_is_found_again(version: int, code: type[KafkaError]) -> None:
    async with transactional(version, brokers=3) as (fake, producer):
        apis = ["EndTxn", "TxnOffsetCommit"]
        if version < 2:
            apis += ["AddPartitionsToTxn", "AddOffsetsToTxn"]
        for api in apis:
            fake.fail(api, code=code)
            before = fake.requests["FindCoordinator"]
            async with producer.transaction():
                await producer.send(TOPIC, api.encode())
                await producer.send_offsets_to_transaction({(TOPIC, 0): 3}, GROUP)
            assert fake.requests["FindCoordinator"] > before, api
        assert committed(fake) == [api.encode() for api in apis]


@VERSIONS
async def test_a_coordinator_that_stops_is_replaced_in_the_middle_of_a_transaction(version: int) -> None:
    async with transactional(version, brokers=3, cluster={"replication": 3}) as (fake, producer):
        async with producer.transaction():
            await producer.send(TOPIC, b"1")
            await producer.send_offsets_to_transaction({(TOPIC, 0): 3}, GROUP)
            fake.stop_broker(fake.coordinator(NAME))
            await producer.send(TOPIC, b"2")
        async with producer.transaction():
            await producer.send(TOPIC, b"3")
            fake.move_coordinator(NAME, next(n for n in fake.brokers if fake.brokers[n].is_up))
        assert committed(fake) == [b"1", b"2", b"3"]


@VERSIONS
async def test_the_transaction_before_may_still_be_completing(version: int) -> None:
    async with transactional(version) as (fake, producer):
        fake.hold_markers()
        async with producer.transaction():
            await producer.send(TOPIC, b"1")
        await producer.begin_transaction()
        delivery = await producer.enqueue(TOPIC, b"2")
        with anyio.move_on_after(0.05):
            await delivery
        assert not delivery.done
        fake.release_markers()
        await producer.commit_transaction()
        assert committed(fake) == [b"1", b"2"]


@VERSIONS
async def test_concurrent_transactions_at_the_start_are_waited_for(version: int) -> None:
    async with transactional(version, init_on_enter=False) as (fake, producer):
        fake.fail("InitProducerId", code=ConcurrentTransactionsError, times=3)
        await producer.init_transactions()
        assert state_of(producer) == "Ready"


async def test_a_transaction_that_was_open_for_too_long_is_aborted_and_the_producer_goes_on() -> None:
    async with transactional(2, transaction_timeout=0.05) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        await anyio.sleep(0.1)
        with pytest.raises(InvalidProducerEpochError):
            await producer.send(TOPIC, b"y")
        assert state_of(producer) == "AbortableError"
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert committed(fake) == [b"next"]


@VERSIONS
async def test_a_commit_that_comes_too_late_says_so(version: int) -> None:
    async with transactional(version, transaction_timeout=0.05) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        await anyio.sleep(0.1)
        with pytest.raises(KafkaError, match="transaction_timeout") as raised:
            await producer.commit_transaction()
        assert raised.value.is_fatal
        assert state_of(producer) == "FatalError"
        assert committed(fake) == []


@pytest.mark.parametrize("code", [47, 48, 49, 53, 90])
@pytest.mark.parametrize("api", ["EndTxn", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit"])
async def test_what_ends_the_producer_is_never_asked_again_and_says_that_it_is_fatal(
    api: str, code: int
) -> None:
    async with transactional(1) as (fake, producer):
        fault = fake.fail(api, code=code, times=None)
        with pytest.raises(KafkaError) as raised:
            async with producer.transaction():
                await producer.send(TOPIC, b"x")
                await producer.send_offsets_to_transaction({(TOPIC, 0): 5}, GROUP)
        assert raised.value.is_fatal
        assert fault.hits == 1
        assert state_of(producer) == "FatalError"
        with pytest.raises(type(raised.value)) as again:
            await producer.begin_transaction()
        assert again.value.is_fatal


async def test_in_the_first_version_that_shuts_the_producer_out() -> None:
    async with transactional(1, transaction_timeout=0.05, partitions=2) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x", partition=0)
        await anyio.sleep(0.1)
        with pytest.raises(ProducerFencedError, match="transaction_timeout"):
            await producer.send(TOPIC, b"y", partition=1)
        assert state_of(producer) == "FatalError"
        assert committed(fake) == []


async def test_a_timeout_that_brokers_do_not_allow() -> None:
    async with FakeCluster(transaction_max_timeout=900) as fake:
        with pytest.raises(InvalidTransactionTimeoutError):
            async with producer_on(fake, transaction_timeout=901):
                pass


async def test_who_may_not_use_the_transactional_id_may_try_again() -> None:
    async with transactional(init_on_enter=False) as (fake, producer):
        fake.fail("InitProducerId", code=TransactionalIdAuthorizationFailedError)
        with pytest.raises(TransactionalIdAuthorizationFailedError):
            await producer.init_transactions()
        assert state_of(producer) == "Uninitialized"
        await producer.init_transactions()
        assert state_of(producer) == "Ready"


async def test_a_start_that_takes_too_long_may_be_made_again() -> None:
    async with transactional(init_on_enter=False, max_block=0.5) as (fake, producer):
        fault = fake.fail("InitProducerId", code=CoordinatorLoadInProgressError, times=None)
        with pytest.raises(TransactionTimeoutError, match=r"init_transactions\(\)"):
            await producer.init_transactions()
        assert state_of(producer) == "Uninitialized"
        fake.heal(fault)
        await producer.init_transactions()
        assert state_of(producer) == "Ready"


@VERSIONS
async def test_a_consumer_that_lost_its_partitions_cannot_commit_its_offsets(version: int) -> None:
    async with transactional(version) as (fake, producer):
        fake.set_group(GROUP, generation=2, members={"me": None})
        stale = ConsumerGroupMetadata(GROUP, 1, "me")
        with pytest.raises(IllegalGenerationError) as raised:
            async with producer.transaction():
                await producer.send(TOPIC, b"x")
                await producer.send_offsets_to_transaction({(TOPIC, 0): 5}, stale)
        assert raised.value.requires_abort
        assert state_of(producer) == "Ready"
        async with producer.transaction():
            await producer.send_offsets_to_transaction({(TOPIC, 0): 6}, ConsumerGroupMetadata(GROUP, 2, "me"))
        assert fake.committed_offsets(GROUP) == {(TOPIC, 0): 6}
        assert committed(fake) == []


@VERSIONS
async def test_offsets_that_do_not_arrive_leave_only_the_abort(version: int) -> None:
    async with transactional(version, max_block=0.5) as (fake, producer):
        fault = fake.fail("TxnOffsetCommit", disconnect=True, after_append=True, times=None)
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        with pytest.raises(TransactionTimeoutError, match=r"send_offsets_to_transaction\(\)"):
            await producer.send_offsets_to_transaction({(TOPIC, 0): 5}, GROUP)
        assert state_of(producer) == "AbortableError"
        fake.heal(fault)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert fake.committed_offsets(GROUP) == {}
        assert committed(fake) == [b"next"]


async def test_cancelled_offsets_leave_only_the_abort() -> None:
    async with transactional() as (fake, producer):
        await producer.begin_transaction()
        held = fake.fail("TxnOffsetCommit", hold=True)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(producer.send_offsets_to_transaction, {(TOPIC, 0): 5}, GROUP)
                await held.struck()
                scope.cancel()
        assert state_of(producer) == "AbortableError"
        with pytest.raises(TransactionAbortableError, match="cancelled"):
            await producer.commit_transaction()
        held.release()
        await producer.abort_transaction()
        assert fake.committed_offsets(GROUP) == {}


async def test_a_commit_does_not_overtake_offsets_that_fail() -> None:
    async with transactional() as (fake, producer):
        fake.set_group(GROUP, generation=2, members={"me": None})
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        held = fake.fail("TxnOffsetCommit", hold=True)
        failures: list[type[Exception]] = []

        async def fails(call: Any, *arguments: Any) -> None:
            try:
                await call(*arguments)
            except KafkaError as error:
                failures.append(type(error))

        stale = ConsumerGroupMetadata(GROUP, 1, "me")
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(fails, producer.send_offsets_to_transaction, {(TOPIC, 0): 5}, stale)
            await held.struck()
            task_group.start_soon(fails, producer.commit_transaction)
            await anyio.wait_all_tasks_blocked()
            held.release()
        assert failures == [IllegalGenerationError, IllegalGenerationError]
        assert "EndTxn" not in fake.requests
        await producer.abort_transaction()
        assert committed(fake) == []


@VERSIONS
async def test_a_gap_in_the_numbers_ends_the_transaction_and_not_the_producer(version: int) -> None:
    async with transactional(version) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"x")
        fake.fail("Produce", code=OutOfOrderSequenceNumberError)
        with pytest.raises(OutOfOrderSequenceNumberError):
            await producer.send(TOPIC, b"y")
        assert state_of(producer) == "AbortableError"
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert committed(fake) == [b"next"]


@VERSIONS
async def test_what_an_abort_left_is_finished_by_the_next_transaction(version: int) -> None:
    async with transactional(version, close_timeout=0.05) as (fake, producer):
        held = fake.fail("EndTxn", hold=True)
        with pytest.raises(ValueError, match="mine"):
            async with producer.transaction():
                await producer.send(TOPIC, b"dropped")
                raise ValueError("mine")
        assert state_of(producer) == "Aborting"
        with pytest.raises(InvalidTransactionStateError, match=r"abort_transaction\(\) again"):
            await producer.begin_transaction()
        held.release()
        async with producer.transaction():
            await producer.send(TOPIC, b"next")
        assert committed(fake) == [b"next"]


async def test_an_epoch_that_is_used_up_gives_way_to_another_id() -> None:
    async with transactional(2) as (fake, producer):
        async with producer.transaction():
            await producer.send(TOPIC, b"1")
        engine = producer._engine_or_none
        assert engine is not None
        fake.transactions[NAME].producer_epoch = 2**15 - 2
        engine.take_identity(fake.transactions[NAME].producer_id, 2**15 - 2)
        before = fake.transactions[NAME].producer_id
        for value in (b"2", b"3", b"4"):
            async with producer.transaction():
                await producer.send(TOPIC, value)
        assert fake.transactions[NAME].producer_id != before
        assert committed(fake) == [b"1", b"2", b"3", b"4"]


@FIRST_TWO
async def test_a_broker_that_gives_no_new_epochs_ends_a_producer_that_needs_one(version: int) -> None:
    old = {"api_versions": {"InitProducerId": (0, 2)}}
    async with transactional(version, cluster=old) as (fake, producer):
        async with producer.transaction():
            await producer.send(TOPIC, b"1")
            fake.fail("EndTxn", after_append=True, disconnect=True)
        with pytest.raises(KafkaError, match="new epoch"):
            await producer.begin_transaction()
        assert state_of(producer) == "FatalError"
        assert committed(fake) == [b"1"]


@VERSIONS
@pytest.mark.parametrize("attempts", [0, 1])
async def test_what_cannot_be_sent_behind_a_refused_batch_ends_at_once(version: int, attempts: int) -> None:
    """Its place in the numbering is free only after the abort, and who would abort waits for it."""
    values = [b"%d" % number * 150 for number in range(1, 6)]
    async with transactional(version, batch_size=200, delivery_timeout=50.0) as (fake, producer):
        await producer.begin_transaction()
        await producer.send(TOPIC, b"0")
        if attempts:
            fake.fail("Produce", code=NotEnoughReplicasError, times=len(values))
        fake.fail("Produce", code=InvalidRecordError)
        with anyio.fail_after(10):
            result = await producer.send_many(TOPIC, values)
        errors = [error for _, error in result.failed]
        assert isinstance(errors[0], InvalidRecordError)
        assert len(errors) == len(values)
        assert not any(error.possibly_written for error in errors)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(TOPIC, b"again")
        assert committed(fake) == [b"again"]

"""What the guide says of a producer with transactions, statement by statement, on a real Kafka."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import krafka
from krafka import InvalidTransactionStateError, ProducerFencedError, TransactionalProducer, TransactionState
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.init_producer_id import InitProducerIdRequest

from .proxy import Proxy
from .readers import settled_ends, transaction_of

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

SECONDS = 60.0
Values = list[bytes | None]


def producing(kafka: KafkaCluster, name: str, **options: Any) -> TransactionalProducer:
    return TransactionalProducer(kafka.bootstrap, transactional_id=name, **{"max_block": SECONDS, **options})


async def committed(kafka: KafkaCluster, topic: str) -> Values:
    """What readers of committed records get, once nothing is open any more."""
    ends = await settled_ends(kafka, [topic])
    assert all(end.last_stable_offset == end.high_watermark for end in ends)
    return [record.value for record in await kafka.read(topic, isolation="read_committed")]


# -- what is written ---------------------------------------------------------------------------------------------------


async def test_batches_carry_the_identity_and_numbers_and_are_marked(
    kafka: KafkaCluster, kafka_topic: str
) -> None:
    async with producing(kafka, kafka_topic) as producer:
        for values in ([b"a", b"b"], [b"c"]):
            async with producer.transaction():
                for value in values:
                    await producer.send(kafka_topic, value, partition=0)
    told = await transaction_of(kafka, kafka_topic)
    log = await kafka.dump_log(kafka_topic, 0)
    batches = [line for line in log.splitlines() if "baseOffset:" in line and "isControl: false" in line]
    assert len(batches) == 3
    assert all("isTransactional: true" in line for line in batches)
    assert {re.search(r"producerId: (\d+)", line)[1] for line in batches} == {told["ProducerId"]}  # type: ignore[index]
    # Each transaction has its own epoch, and numbers its records from 0 on.
    numbered = [
        tuple(map(int, re.search(r"baseSequence: (\d+).*producerEpoch: (\d+)", line).groups()))  # type: ignore[union-attr]
        for line in batches
    ]
    first = numbered[0][1]
    assert numbered == [(0, first), (1, first), (0, first + 1)]


async def test_several_topics_and_partitions_are_committed_as_one(
    kafka: KafkaCluster, kafka_topic: str
) -> None:
    other = f"{kafka_topic}-other"
    async with producing(kafka, kafka_topic) as producer:
        await producer.begin_transaction()
        await producer.send(kafka_topic, b"a", partition=0)
        await producer.send(kafka_topic, b"b", partition=1)
        await producer.send_record(krafka.ProducerRecord(other, b"c"))
        assert await kafka.read(kafka_topic, isolation="read_committed") == []
        await producer.commit_transaction()
    assert await committed(kafka, kafka_topic) == [b"a", b"b"]
    assert await committed(kafka, other) == [b"c"]


async def test_the_coordinator_knows_the_id_and_the_timeout(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with (
        producing(kafka, kafka_topic, transaction_timeout=12.5, compression="lz4") as producer,
        producer.transaction(),
    ):
        await producer.send(kafka_topic, b"value")
        told = await transaction_of(kafka, kafka_topic)
    assert told["TransactionalId"] == kafka_topic
    assert told["TransactionTimeoutMs"] == "12500"
    assert told["TransactionState"] == "Ongoing"


# -- the life of a transaction -----------------------------------------------------------------------------------------


async def test_five_steps_and_their_states(kafka: KafkaCluster, kafka_topic: str) -> None:
    producer = producing(kafka, kafka_topic, init_on_enter=False)
    states = [producer.transaction_state]
    async with producer:
        await producer.init_transactions()
        states.append(producer.transaction_state)
        await producer.begin_transaction()
        states.append(producer.transaction_state)
        await producer.send(kafka_topic, b"value")
        await producer.commit_transaction()
        states.append(producer.transaction_state)
        await producer.close()
        states.append(producer.transaction_state)
    S = TransactionState  # noqa: N806 - a short name for a table
    assert states == [S.UNINITIALIZED, S.READY, S.IN_TRANSACTION, S.READY, S.FATAL_ERROR]
    assert await committed(kafka, kafka_topic) == [b"value"]


async def test_an_abort_in_place_of_a_commit(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with producing(kafka, kafka_topic) as producer:
        await producer.begin_transaction()
        await producer.send(kafka_topic, b"a mistake")
        await producer.abort_transaction()
        await producer.begin_transaction()
        await producer.send(kafka_topic, b"value")
        await producer.commit_transaction()
    assert await committed(kafka, kafka_topic) == [b"value"]
    assert len(await kafka.read(kafka_topic)) == 2


async def test_states_that_pass(kafka: KafkaCluster, kafka_topic: str) -> None:
    """While calls are under way, others are refused, and change nothing."""
    seen: list[TransactionState] = []
    async with Proxy(kafka.bootstrap).running() as proxy:
        options = {"init_on_enter": False, "reconnect_backoff": 0.02, "max_block": SECONDS}
        producer = TransactionalProducer(proxy.bootstrap, transactional_id=kafka_topic, **options)

        async def watch(request_class: Any, call: Any) -> None:
            held = proxy.catch(request_class)
            async with anyio.create_task_group() as tasks:
                with proxy.cutting(request_class):
                    tasks.start_soon(call)
                    await held.wait()
                    seen.append(producer.transaction_state)
                    with pytest.raises(InvalidTransactionStateError, match=producer.transaction_state):
                        await producer.begin_transaction()

        async with producer:
            await watch(InitProducerIdRequest, producer.init_transactions)
            for end in (producer.commit_transaction, producer.abort_transaction):
                await producer.begin_transaction()
                await producer.send(kafka_topic, b"value")
                await watch(EndTxnRequest, end)
            assert producer.transaction_state is TransactionState.READY
    assert seen == [TransactionState.INITIALIZING, TransactionState.COMMITTING, TransactionState.ABORTING]


@pytest.mark.parametrize(
    ("call", "state"),
    [
        ("init_transactions", TransactionState.READY),
        ("commit_transaction", TransactionState.READY),
        ("abort_transaction", TransactionState.READY),
        ("send", TransactionState.READY),
        ("enqueue", TransactionState.READY),
        ("send_many", TransactionState.READY),
        ("send_offsets_to_transaction", TransactionState.READY),
        ("begin_transaction", TransactionState.IN_TRANSACTION),
        ("init_transactions", TransactionState.IN_TRANSACTION),
    ],
)
async def test_a_call_that_does_not_fit(
    kafka: KafkaCluster, kafka_topic: str, call: str, state: TransactionState
) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "send": (kafka_topic, b"refused"),
        "enqueue": (kafka_topic, b"refused"),
        "send_many": (kafka_topic, [b"refused"]),
        "send_offsets_to_transaction": ({(kafka_topic, 0): 1}, "group"),
    }
    async with producing(kafka, kafka_topic) as producer:
        if state is TransactionState.IN_TRANSACTION:
            await producer.begin_transaction()
        with pytest.raises(InvalidTransactionStateError) as raised:
            result = await getattr(producer, call)(*arguments.get(call, ()))
            # Of many records each has its own error, here all the same one.
            raise result.failed[0][1]
        assert state in str(raised.value)
        assert producer.transaction_state is state
        if state is TransactionState.READY:
            await producer.begin_transaction()
        await producer.send(kafka_topic, b"value")
        await producer.commit_transaction()
    assert await committed(kafka, kafka_topic) == [b"value"]


async def test_who_comes_later_shuts_out_who_was_there(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with producing(kafka, kafka_topic) as first:
        await first.begin_transaction()
        await first.send(kafka_topic, b"of the first")
        async with producing(kafka, kafka_topic) as second, second.transaction():
            await second.send(kafka_topic, b"of the second")
        with pytest.raises(ProducerFencedError, match="another producer with transactional_id") as raised:
            await first.commit_transaction()
        assert raised.value.is_fatal
        assert first.transaction_state is TransactionState.FATAL_ERROR
        with pytest.raises(ProducerFencedError):
            await first.begin_transaction()
    assert await committed(kafka, kafka_topic) == [b"of the second"]


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", [None, SECONDS])
async def test_closing_aborts_what_is_open(
    kafka: KafkaCluster, kafka_topic: str, within: float | None
) -> None:
    async with producing(kafka, kafka_topic) as producer:
        await producer.begin_transaction()
        await producer.send(kafka_topic, b"value")
        await producer.close(timeout=within)
        assert producer.transaction_state is TransactionState.FATAL_ERROR
        with pytest.raises(krafka.ProducerClosedError):
            await producer.send(kafka_topic, b"too late")
        await producer.close(timeout=within)
    assert (await transaction_of(kafka, kafka_topic))["TransactionState"] == "CompleteAbort"
    assert await committed(kafka, kafka_topic) == []


async def test_sends_that_have_begun_are_waited_for(kafka: KafkaCluster, kafka_topic: str) -> None:
    """Each has an outcome: acknowledged, though its transaction is aborted then, or aborted with it."""
    async with producing(kafka, kafka_topic) as producer:
        await producer.begin_transaction()
        deliveries = [await producer.enqueue(kafka_topic, b"%d" % number) for number in range(1000)]
        await producer.close()
        assert all(delivery.done for delivery in deliveries)
        assert {type(delivery.exception) for delivery in deliveries} <= {
            type(None),
            krafka.TransactionAbortedError,
        }
    assert await committed(kafka, kafka_topic) == []


async def test_leaving_by_an_exception_aborts_and_gives_it_bare(
    kafka: KafkaCluster, kafka_topic: str
) -> None:
    with pytest.raises(LookupError):
        async with producing(kafka, kafka_topic) as producer:
            await producer.begin_transaction()
            await producer.send(kafka_topic, b"value")
            raise LookupError
    assert await committed(kafka, kafka_topic) == []


async def test_a_block_that_is_cancelled_is_aborted(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with producing(kafka, kafka_topic) as producer:
        with anyio.CancelScope() as scope:
            async with producer.transaction():
                await producer.send(kafka_topic, b"value")
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert producer.transaction_state is TransactionState.READY
        async with producer.transaction():
            await producer.send(kafka_topic, b"next")
    assert await committed(kafka, kafka_topic) == [b"next"]


async def test_a_record_that_fails_is_a_transaction_that_fails(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with producing(kafka, kafka_topic, max_request_size=1000) as producer:
        await producer.begin_transaction()
        await producer.send(kafka_topic, b"value")
        with pytest.raises(krafka.RecordTooLargeError):
            await producer.enqueue(kafka_topic, b"x" * 2000)
        assert producer.transaction_state is TransactionState.ABORTABLE_ERROR
        with pytest.raises(krafka.KafkaError, match="max_request_size"):
            await producer.commit_transaction()
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(kafka_topic, b"next")
    assert await committed(kafka, kafka_topic) == [b"next"]


# -- retries -----------------------------------------------------------------------------------------------------------


async def test_a_record_keeps_its_time(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with producing(kafka, kafka_topic) as producer, producer.transaction():
        await producer.send(kafka_topic, b"value", timestamp=1_700_000_000_000)
    (record,) = await kafka.read(kafka_topic, isolation="read_committed")
    assert record.timestamp == 1_700_000_000_000

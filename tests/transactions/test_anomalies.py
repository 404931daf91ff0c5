"""Requests that arrive late, in the next transaction of the same producer: what they do, and that krafka's do nothing.

Jepsen's analysis of Bufstream 0.1.0 showed it (KAFKA-17754): in the first protocol of transactions an EndTxn says which
producer means it, and not which of its transactions. Here each such request is held back while its connection breaks,
repeated by the client as any would, and delivered in the midst of the next transaction.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import confluent_kafka
import pytest

from krafka import (
    CommitOutcomeUnknownError,
    DeliveryTimeoutError,
    InvalidTransactionStateError,
    TransactionalProducer,
    TransactionState,
)
from krafka._io.transactor import Transactor
from krafka._wire.add_offsets_to_txn import AddOffsetsToTxnRequest
from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnRequest
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.produce import ProduceRequest
from krafka._wire.txn_offset_commit import TxnOffsetCommitRequest
from krafka.testing import KafkaCluster

from .proxy import Fate, Proxy
from .raw import RawProducer
from .readers import settled_ends, transaction_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

SECONDS = 60.0
FENCED = {47, 90}
"""INVALID_PRODUCER_EPOCH and PRODUCER_FENCED."""
_numbers = count(1)
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture(scope="module")
def first_protocol() -> Iterator[KafkaCluster]:
    """A broker that speaks the first protocol of transactions only."""
    kafka = KafkaCluster(transaction_version=1)
    with kafka.sync:
        yield kafka


async def committed(kafka: KafkaCluster, topic: str) -> list[bytes | None]:
    """What readers of committed records get, once nothing is open any more."""
    ends = await settled_ends(kafka, [topic])
    assert all(end.last_stable_offset == end.high_watermark for end in ends)
    return [record.value for record in await kafka.read(topic, isolation="read_committed")]


async def committed_offset(kafka: KafkaCluster, group: str, topic: str) -> int:
    """A group's offset in partition 0."""

    def ask() -> int:
        consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
        try:
            (found,) = consumer.committed([confluent_kafka.TopicPartition(topic, 0)], SECONDS)
        finally:
            consumer.close()
        return int(found.offset)

    return await anyio.to_thread.run_sync(ask)


def topic_name(name: str, commit: bool | None = None) -> str:
    """A name of its own for a test's topic, group and transactional id."""
    return f"{name}-{commit}-{next(_numbers)}"


@asynccontextmanager
async def producing(proxy: Proxy, name: str, **options: Any) -> AsyncGenerator[TransactionalProducer]:
    """krafka's producer through the proxy."""
    settings = {"max_block": SECONDS, "reconnect_backoff": 0.02, "reconnect_backoff_max": 0.2, **options}
    with anyio.fail_after(SECONDS):
        async with TransactionalProducer(proxy.bootstrap, transactional_id=name, **settings) as producer:
            yield producer


@asynccontextmanager
async def proxied(kafka: KafkaCluster, topic: str) -> AsyncGenerator[Proxy]:
    """A proxy, and a topic of two partitions."""
    await kafka.create_topic(topic, partitions=2)
    async with Proxy(kafka.bootstrap).running() as proxy:
        yield proxy


# -- a producer that does nothing about it ---------------------------------------------------------------------------


@ASYNCIO
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_a_late_end_ends_the_next_transaction(first_protocol: KafkaCluster, commit: bool) -> None:
    """The late request is a commit, and an aborted record is read; or an abort, and a committed one is lost."""
    topic = f"late-end-{commit}"
    async with proxied(first_protocol, topic) as proxy:
        producer = RawProducer(proxy.bootstrap, topic)
        await producer.init()
        await producer.write(topic, 0, b"first")
        held = proxy.catch(EndTxnRequest)
        await producer.end(commit=commit)
        await held.wait()
        await producer.write(topic, 0, b"second, one")
        assert (await held.deliver()).error_code == 0
        await producer.write(topic, 1, b"second, two")
        await producer.end(commit=not commit)
    expected = [b"first", b"second, one"] if commit else [b"second, two"]
    assert await committed(first_protocol, topic) == expected


@ASYNCIO
async def test_a_late_record_takes_the_place_of_the_next(first_protocol: KafkaCluster) -> None:
    """The record of an aborted transaction is read, and one of a committed transaction is lost."""
    topic = "late-record"
    async with proxied(first_protocol, topic) as proxy:
        producer = RawProducer(proxy.bootstrap, topic)
        await producer.init()
        held = proxy.catch(ProduceRequest)
        await producer.write_in_vain(topic, 0, b"first")
        await held.wait()
        await producer.end(commit=False)
        await producer.add(topic, 0)
        assert (await held.deliver()).responses[0].partition_responses[0].error_code == 0
        await producer.write(topic, 0, b"second")
        await producer.end(commit=True)
    assert await committed(first_protocol, topic) == [b"first"]


@ASYNCIO
async def test_a_late_offset_takes_the_place_of_the_next(first_protocol: KafkaCluster) -> None:
    """The group goes back to where it was a transaction ago, and its records are processed twice."""
    topic = "late-offset"
    async with proxied(first_protocol, topic) as proxy:
        producer = RawProducer(proxy.bootstrap, topic)
        await producer.init()
        held = proxy.catch(TxnOffsetCommitRequest)
        await producer.commit_offset(topic, topic, 5)
        await held.wait()
        await producer.end(commit=True)
        await producer.commit_offset(topic, topic, 9)
        assert (await held.deliver()).topics[0].partitions[0].error_code == 0
        await producer.end(commit=True)
    assert await committed_offset(first_protocol, topic, topic) == 5


@ASYNCIO
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_it_happens_to_a_client_in_use(first_protocol: KafkaCluster, commit: bool) -> None:
    """The same by confluent-kafka, which shows that it is not our hand-written requests that are odd."""
    topic = f"late-end-confluent-{commit}"
    async with proxied(first_protocol, topic) as proxy:
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": proxy.bootstrap, "transactional.id": topic, "linger.ms": 0, "log_level": 0}
        )

        async def write(value: bytes, partition: int) -> None:
            producer.produce(topic, value, partition=partition)
            assert await anyio.to_thread.run_sync(producer.flush, SECONDS) == 0

        async def end(commit: bool) -> None:
            call = producer.commit_transaction if commit else producer.abort_transaction
            await anyio.to_thread.run_sync(call, SECONDS)

        await anyio.to_thread.run_sync(producer.init_transactions, SECONDS)
        producer.begin_transaction()
        await write(b"first", 0)
        held = proxy.catch(EndTxnRequest)
        await end(commit)
        await held.wait()
        producer.begin_transaction()
        await write(b"second, one", 0)
        assert (await held.deliver()).error_code == 0
        await write(b"second, two", 1)
        await end(not commit)
    expected = [b"first", b"second, one"] if commit else [b"second, two"]
    assert await committed(first_protocol, topic) == expected


# -- krafka ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def either_protocol(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    """A broker with each version of transactions."""
    kafka = KafkaCluster(transaction_version=request.param)
    with kafka.sync:
        yield kafka


async def until(kafka: KafkaCluster, transactional_id: str, state: str) -> None:
    """Wait until the coordinator has a transactional id in this state."""
    with anyio.fail_after(SECONDS):
        while (await transaction_of(kafka, transactional_id))["TransactionState"] != state:
            pass


class ChangeOfMindError(Exception):
    """The program aborts."""


def leave(*, commit: bool) -> None:
    """Go on to the end of a transaction, or out of it."""
    if not commit:
        raise ChangeOfMindError


async def late_end(kafka: KafkaCluster, *, commit: bool) -> tuple[list[bytes | None], int]:
    """What is read after an end of one transaction was delivered in the next, and what the broker answered to it."""
    topic = topic_name("late-end", commit)
    async with proxied(kafka, topic) as proxy, producing(proxy, topic) as producer:
        with suppress(ChangeOfMindError):
            async with producer.transaction():
                await producer.send(topic, b"first", partition=0)
                held = proxy.catch(EndTxnRequest)
                leave(commit=commit)
        assert (await held.wait()).committed is commit
        with suppress(ChangeOfMindError):
            async with producer.transaction():
                await producer.send(topic, b"second, one", partition=0)
                told = (await held.deliver()).error_code
                await producer.send(topic, b"second, two", partition=1)
                leave(commit=not commit)
    return await committed(kafka, topic), told


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_a_late_end_of_krafkas_does_nothing(either_protocol: KafkaCluster, commit: bool) -> None:
    found, told = await late_end(either_protocol, commit=commit)
    assert told in FENCED
    assert found == ([b"first"] if commit else [b"second, one", b"second, two"])


@ASYNCIO
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_it_would_without_the_new_epoch(
    first_protocol: KafkaCluster, commit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep_epoch(_transactor: Transactor) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(Transactor, "_renew_epoch", keep_epoch)
    found, told = await late_end(first_protocol, commit=commit)
    assert told == 0
    assert found == ([b"first", b"second, one"] if commit else [b"second, two"])


async def test_a_late_record_of_krafkas_goes_nowhere(either_protocol: KafkaCluster) -> None:
    topic = topic_name("late-record")
    async with (
        proxied(either_protocol, topic) as proxy,
        producing(proxy, topic, delivery_timeout=1.5) as producer,
    ):
        with proxy.cutting(ProduceRequest), pytest.raises(DeliveryTimeoutError) as raised:
            async with producer.transaction():
                held = proxy.catch(ProduceRequest)
                await producer.send(topic, b"first", partition=0)
        assert raised.value.possibly_written
        await held.wait()
        async with producer.transaction():
            await producer.send(topic, b"second", partition=1)
            (told,) = (await held.deliver()).responses[0].partition_responses
            assert told.error_code in FENCED
            await producer.send(topic, b"third", partition=0)
    assert await committed(either_protocol, topic) == [b"third", b"second"]


async def test_a_record_sent_again_is_there_once_in_its_transaction(either_protocol: KafkaCluster) -> None:
    topic = topic_name("record-again")
    async with proxied(either_protocol, topic) as proxy, producing(proxy, topic) as producer:
        async with producer.transaction():
            held = proxy.catch(ProduceRequest)
            await producer.send(topic, b"first", partition=0)
        async with producer.transaction():
            await producer.send(topic, b"second", partition=0)
            await held.deliver()
            await producer.send(topic, b"third", partition=0)
    assert await committed(either_protocol, topic) == [b"first", b"second", b"third"]


async def test_a_late_offset_of_krafkas_changes_nothing(either_protocol: KafkaCluster) -> None:
    topic = topic_name("late-offset")
    async with proxied(either_protocol, topic) as proxy, producing(proxy, topic) as producer:
        async with producer.transaction():
            held = proxy.catch(TxnOffsetCommitRequest)
            await producer.send_offsets_to_transaction({(topic, 0): 5}, topic)
        await held.wait()
        async with producer.transaction():
            await producer.send_offsets_to_transaction({(topic, 0): 9}, topic)
            assert (await held.deliver()).topics[0].partitions[0].error_code in FENCED
    assert await committed_offset(either_protocol, topic, topic) == 9


@pytest.mark.parametrize("request_class", [AddPartitionsToTxnRequest, AddOffsetsToTxnRequest])
async def test_a_late_announcement_of_krafkas_is_no_harm_to_records(
    first_protocol: KafkaCluster, request_class: Any
) -> None:
    """It opens a transaction that nobody means, and that is ended before the next begins."""
    topic = topic_name("late-announcement")
    async with proxied(first_protocol, topic) as proxy, producing(proxy, topic) as producer:
        async with producer.transaction():
            held = proxy.catch(request_class)
            await producer.send(topic, b"first", partition=0)
            await producer.send_offsets_to_transaction({(topic, 0): 1}, topic)
        await held.wait()
        await until(first_protocol, topic, "CompleteCommit")
        await held.deliver()
        await until(first_protocol, topic, "Ongoing")
        async with producer.transaction():
            await producer.send(topic, b"second", partition=0)
            await producer.send_offsets_to_transaction({(topic, 0): 2}, topic)
    assert await committed(first_protocol, topic) == [b"first", b"second"]
    assert await committed_offset(first_protocol, topic, topic) == 2


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_an_answer_to_krafka_that_is_lost(either_protocol: KafkaCluster, commit: bool) -> None:
    topic = topic_name("lost-answer", commit)
    async with proxied(either_protocol, topic) as proxy, producing(proxy, topic) as producer:
        with suppress(ChangeOfMindError):
            async with producer.transaction():
                await producer.send(topic, b"first", partition=0)
                caught = proxy.catch(EndTxnRequest, Fate.LOSE_ANSWER)
                leave(commit=commit)
        await caught.wait()
        async with producer.transaction():
            await producer.send(topic, b"second", partition=0)
    assert await committed(either_protocol, topic) == ([b"first"] if commit else []) + [b"second"]


async def test_a_commit_that_is_not_answered(either_protocol: KafkaCluster) -> None:
    """Its outcome is unknown until it is; then the program goes on."""
    topic = topic_name("unanswered")
    async with (
        proxied(either_protocol, topic) as proxy,
        producing(proxy, topic, max_block=1.5) as producer,
    ):
        with proxy.cutting(EndTxnRequest), pytest.raises(CommitOutcomeUnknownError):
            async with producer.transaction():
                await producer.send(topic, b"first", partition=0)
                held = proxy.catch(EndTxnRequest)
        assert producer.transaction_state is TransactionState.COMMITTING
        with pytest.raises(InvalidTransactionStateError):
            await producer.abort_transaction()
        with pytest.raises(InvalidTransactionStateError):
            await producer.begin_transaction()
        await held.wait()
        await producer.commit_transaction()
        with suppress(ChangeOfMindError):
            async with producer.transaction():
                await producer.send(topic, b"second", partition=0)
                assert (await held.deliver()).error_code in FENCED
                await producer.send(topic, b"third", partition=1)
                leave(commit=False)
    assert await committed(either_protocol, topic) == [b"first"]

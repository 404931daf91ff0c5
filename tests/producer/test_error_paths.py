"""Every code a broker can answer Produce and InitProducerId with, and what the producer makes of it."""

from __future__ import annotations

import contextlib
import time
from itertools import pairwise

import anyio
import pytest
from faulty import (
    ONE_RECORD_A_BATCH,
    TOPIC,
    enqueue,
    error_of,
    faulty,
    numbered,
    numbers,
    offsets,
)

from krafka import KafkaError, ProducerClosedError
from krafka.errors import (
    ClusterAuthorizationFailedError,
    DuplicateSequenceNumberError,
    InvalidProducerEpochError,
    MessageTooLargeError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumberError,
    UnknownKafkaError,
    UnknownProducerIdError,
    error_classes_by_code,
)
from krafka.testing import Fault, ReceivedRequest

pytestmark = pytest.mark.anyio

REFRESHING = [3, 5, 6, 9, 13, 56, 72, 74, 100, 103]
PASSING = [2, 7, 14, 15, 16, 19, 20, 51, 75, 89]
POSSIBLY_APPENDED = [3, 6, 7, 20, 56]
FOR_THE_RECORD = [-1, 8, 10, 17, 18, 21, 29, 32, 42, 43, 44, 47, 48, 76, 87, 120, 4242]
ENDING = [31, 35, 49, 53, 90]
PLAIN_OR_IDEMPOTENT = pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "plain"])


@PLAIN_OR_IDEMPOTENT
@pytest.mark.parametrize("code", REFRESHING)
async def test_stale_metadata_is_refreshed_and_the_record_sent_again(code: int, idempotent: bool) -> None:
    async with faulty(idempotent=idempotent) as (cluster, producer):
        asked_before = cluster.requests["Metadata"]
        fault = cluster.fail("Produce", topic=TOPIC, partition=0, code=code, times=2)
        metadata = await producer.send(TOPIC, b"v")
        assert metadata.offset == 0
        await cluster.until(lambda: cluster.requests["Metadata"] > asked_before)
    assert fault.hits == 2
    assert cluster.requests["Produce"] == 3
    assert [record.value for record in cluster.log(TOPIC)] == [b"v"]


@PLAIN_OR_IDEMPOTENT
@pytest.mark.parametrize("code", PASSING)
async def test_a_passing_error_is_sent_again_without_a_refresh(code: int, idempotent: bool) -> None:
    async with faulty(idempotent=idempotent) as (cluster, producer):
        asked_before = cluster.requests["Metadata"]
        fault = cluster.fail("Produce", code=code, times=2)
        assert (await producer.send(TOPIC, b"v")).offset == 0
        assert (await producer.send(TOPIC, b"w")).offset == 1
    assert fault.hits == 2
    assert cluster.requests["Produce"] == 4
    assert cluster.requests["Metadata"] == asked_before
    assert [record.value for record in cluster.log(TOPIC)] == [b"v", b"w"]


@pytest.mark.parametrize("code", POSSIBLY_APPENDED)
async def test_a_refusal_after_the_append_writes_nothing_twice(code: int) -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=code, after_append=True, times=2)
        assert (await producer.send(TOPIC, b"v")).offset == 0
        assert (await producer.send(TOPIC, b"w")).offset == 1
    assert [record.value for record in cluster.log(TOPIC)] == [b"v", b"w"]


@pytest.mark.parametrize("code", [*REFRESHING, *PASSING])
async def test_order_holds_when_one_of_five_in_flight_is_sent_again(code: int) -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=code, skip=1)
        cluster.fail("Produce", code=code, skip=4)
        deliveries = await enqueue(producer, numbered(range(1, 31)))
        assert await offsets(deliveries) == list(range(1, 31))
    records = cluster.log(TOPIC)
    assert numbers(records) == list(range(31))
    # A hole that a retry fills needs no new epoch.
    assert {record.producer_epoch for record in records} == {0}
    assert [record.sequence for record in records] == list(range(31))


@PLAIN_OR_IDEMPOTENT
@pytest.mark.parametrize("code", FOR_THE_RECORD)
async def test_a_refused_record_fails_and_those_behind_it_go_on(code: int, idempotent: bool) -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH, idempotent=idempotent) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", topic=TOPIC, partition=0, code=code, message="says the broker")
        refused, *others = await enqueue(producer, numbered(range(1, 21)))
        error = await error_of(refused)
        assert await offsets(others) == list(range(1, 20))
        assert error is not None
        assert type(error) is error_classes_by_code().get(code, UnknownKafkaError)
        assert error.code == code
        assert f"{TOPIC}-0" in str(error)
        assert "broker 1 at fake-1:9092" in str(error)
        assert "says the broker" in str(error)
        assert not error.is_retriable
        assert error.possibly_written is (code in {-1, 4242})
        assert not producer.closed
        assert (await producer.send(TOPIC, b"21:")).offset == 20
    assert numbers(cluster.log(TOPIC)) == [0, *range(2, 22)]


async def test_one_partition_is_refused_and_its_neighbours_are_not() -> None:
    async with faulty(partitions=3) as (cluster, producer):
        cluster.fail("Produce", topic=TOPIC, partition=1, code=MessageTooLargeError)
        deliveries = [producer.enqueue_nowait(TOPIC, b"v", partition=number) for number in range(3)]
        errors = [await error_of(delivery) for delivery in deliveries]
        assert [type(error) for error in errors] == [type(None), MessageTooLargeError, type(None)]
        assert cluster.requests["Produce"] == 1
    assert [len(cluster.log(TOPIC, number)) for number in range(3)] == [1, 0, 1]


@pytest.mark.parametrize("code", ENDING)
async def test_an_error_that_ends_the_producer(code: int) -> None:
    expected = error_classes_by_code()[code]
    async with faulty(partitions=2, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"v", partition=0)
        cluster.fail("Produce", topic=TOPIC, partition=0, code=code)
        deliveries = await enqueue(producer, numbered(range(8)))
        errors = [await error_of(delivery) for delivery in deliveries]
        assert {type(error) for error in errors} == {expected}
        assert all(error is not None and error.is_fatal for error in errors)
        with pytest.raises(expected, match=rf"{TOPIC}-0"):
            await producer.send(TOPIC, b"later", partition=1)
        with pytest.raises(expected):
            await producer.enqueue(TOPIC, b"later")
        with pytest.raises(expected):
            producer.enqueue_nowait(TOPIC, b"later")
        with pytest.raises(expected):
            await producer.partitions_for("another")
        with pytest.raises(expected):
            await producer.send_many(TOPIC, [b"later"])
    assert [record.value for record in cluster.log(TOPIC, 0)] == [b"v"]


@pytest.mark.parametrize(
    ("code", "doubtful_before"), [(3, False), (6, False), (7, True), (20, True), (56, True)]
)
@pytest.mark.parametrize("after_append", [False, True], ids=["before the append", "after the append"])
async def test_who_answers_with_the_offset_of_an_append_has_appended(
    code: int, doubtful_before: bool, after_append: bool
) -> None:
    async with faulty(retries=0) as (cluster, producer):
        cluster.fail("Produce", code=code, after_append=after_append)
        error = await error_of(await producer.enqueue(TOPIC, b"v"))
        assert error is not None
        assert error.possibly_written is (doubtful_before or after_append)
        assert (await producer.send(TOPIC, b"w")).offset == int(after_append)


async def test_a_closed_producer_says_so() -> None:
    async with faulty() as (_, producer):
        await producer.send(TOPIC, b"v")
        await producer.close()
        with pytest.raises(ProducerClosedError):
            await producer.send(TOPIC, b"v")


async def test_a_closing_producer_takes_nothing_new_and_finishes_what_it_has() -> None:
    async with faulty() as (cluster, producer), anyio.create_task_group() as task_group:
        fault = cluster.fail("Produce", hold=True)
        under_way = await producer.enqueue(TOPIC, b"v")
        await fault.struck()
        task_group.start_soon(producer.close)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ProducerClosedError):
            await producer.send(TOPIC, b"w")
        assert not under_way.done
        fault.release()
        assert (await under_way).offset == 0
    assert [record.value for record in cluster.log(TOPIC)] == [b"v"]


# -- sequences and epochs ----------------------------------------------------------------------------------------------


async def test_a_missing_sequence_is_healed_by_a_new_epoch() -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=OutOfOrderSequenceNumberError)
        deliveries = await enqueue(producer, numbered(range(1, 21)))
        assert await offsets(deliveries) == list(range(1, 21))
    records = cluster.log(TOPIC)
    assert numbers(records) == list(range(21))
    assert [(record.producer_epoch, record.sequence) for record in records] == [
        (0, 0),
        *((1, sequence) for sequence in range(20)),
    ]
    assert cluster.requests["InitProducerId"] == 1


@pytest.mark.parametrize("code", POSSIBLY_APPENDED)
async def test_a_batch_in_doubt_is_not_left_behind_further_than_brokers_remember(code: int) -> None:
    def carries_the_doubtful_one(request: ReceivedRequest) -> bool:
        (topic,) = request.body.topic_data  # type: ignore[attr-defined]
        return any(b"1:xxx" in bytes(partition.records) for partition in topic.partition_data)

    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=code, after_append=True, times=4, when=carries_the_doubtful_one)
        deliveries = await enqueue(producer, numbered(range(1, 41)))
        # A broker knows the last five batches again; an offset of -1 or a second copy would come of the sixth.
        assert await offsets(deliveries) == list(range(1, 41))
    records = cluster.log(TOPIC)
    assert numbers(records) == list(range(41))
    assert {record.producer_epoch for record in records} == {0}


async def test_a_new_epoch_is_for_the_partition_that_needs_it_and_others_follow() -> None:
    async with faulty(partitions=2, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:", partition=0)
        await producer.send(TOPIC, b"0:", partition=1)
        cluster.fail("Produce", topic=TOPIC, partition=0, code=OutOfOrderSequenceNumberError)
        await offsets(await enqueue(producer, numbered(range(1, 4)), partition=0))
        await offsets(await enqueue(producer, numbered(range(1, 4)), partition=1))
    for partition in (0, 1):
        records = cluster.log(TOPIC, partition)
        assert numbers(records) == list(range(4))
        assert [(record.producer_epoch, record.sequence) for record in records[1:]] == [
            (1, 0),
            (1, 1),
            (1, 2),
        ]


@pytest.mark.parametrize("deleted", [False, True], ids=["records are there", "records were deleted"])
async def test_a_forgotten_producer_numbers_anew(deleted: bool) -> None:
    refusing = {"refuses_unknown_producers": True}
    async with faulty(cluster=refusing, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await offsets(await enqueue(producer, numbered(range(3))))
        cluster.forget_producers(TOPIC, 0)
        if deleted:
            cluster.delete_records(TOPIC, 0, before_offset=3)
        deliveries = await enqueue(producer, numbered(range(3, 13)))
        assert await offsets(deliveries) == list(range(3, 13))
    records = [record for record in cluster.log(TOPIC) if record.offset >= 3]
    assert numbers(records) == list(range(3, 13))
    assert [(record.producer_epoch, record.sequence) for record in records] == [(1, n) for n in range(10)]


async def test_a_forgotten_producer_that_the_broker_takes_goes_on_counting() -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await offsets(await enqueue(producer, numbered(range(3))))
        cluster.forget_producers(TOPIC, 0)
        await offsets(await enqueue(producer, numbered(range(3, 9))))
    records = cluster.log(TOPIC)
    assert numbers(records) == list(range(9))
    assert [(record.producer_epoch, record.sequence) for record in records] == [(0, n) for n in range(9)]


async def test_unknown_producer_without_a_log_start_is_just_sent_again() -> None:
    async with faulty() as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=UnknownProducerIdError, log_start_offset=-1)
        assert (await producer.send(TOPIC, b"1:")).offset == 1
    assert {record.producer_epoch for record in cluster.log(TOPIC)} == {0}


async def test_a_duplicate_whose_offset_is_forgotten_is_a_success_without_offset() -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=DuplicateSequenceNumberError, after_append=True)
        deliveries = await enqueue(producer, numbered(range(1, 5)))
        assert await offsets(deliveries) == [-1, 2, 3, 4]
        assert (await deliveries[0]).timestamp > 0
    assert numbers(cluster.log(TOPIC)) == list(range(5))


async def test_an_old_epoch_is_refused_and_the_next_one_works() -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=InvalidProducerEpochError)
        refused, *others = await enqueue(producer, numbered(range(1, 6)))
        assert type(await error_of(refused)) is InvalidProducerEpochError
        assert await offsets(others) == [1, 2, 3, 4]
    records = cluster.log(TOPIC)
    assert numbers(records) == [0, 2, 3, 4, 5]
    assert {record.producer_epoch for record in records[1:]} == {1}


# -- what the broker finds in the records ------------------------------------------------------------------------------


async def test_too_few_replicas_until_one_comes_back() -> None:
    async with faulty(brokers=3) as (cluster, producer):
        cluster.create_topic("safe", 1, config={"min.insync.replicas": "3"})
        await producer.partitions_for("safe")
        cluster.stop_broker(3)
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(producer.send, "safe", b"v")
            await cluster.until(lambda: cluster.requests["Produce"] >= 3)
            assert cluster.log("safe") == []
            cluster.start_broker(3)
    assert [record.value for record in cluster.log("safe")] == [b"v"]


async def test_the_broker_stamps_the_time_of_the_append() -> None:
    async with faulty() as (cluster, producer):
        cluster.create_topic("stamped", 1, config={"message.timestamp.type": "LogAppendTime"})
        metadata = await producer.send("stamped", b"v", timestamp=5)
    (record,) = cluster.log("stamped")
    assert metadata.timestamp == record.timestamp != 5


@pytest.mark.parametrize("of_the_broker", [False, True])
async def test_a_batch_that_was_there_already_keeps_its_times(of_the_broker: bool) -> None:
    kind = "LogAppendTime" if of_the_broker else "CreateTime"
    async with faulty() as (cluster, producer):
        cluster.create_topic("stamped", 1, config={"message.timestamp.type": kind})
        await producer.partitions_for("stamped")
        cluster.fail("Produce", disconnect=True, after_append=True)
        now = int(time.time() * 1000)
        deliveries = [
            producer.enqueue_nowait("stamped", b"v", timestamp=now - age) for age in (5000, 3000, 4000)
        ]
        times = [(await delivery).timestamp for delivery in deliveries]
    assert times == [record.timestamp for record in cluster.log("stamped")]
    assert (times == [now - 5000, now - 3000, now - 4000]) is not of_the_broker


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_arrives_and_survives_a_retry(codec: str) -> None:
    async with faulty(compression=codec) as (cluster, producer):
        cluster.fail("Produce", code=NotEnoughReplicasError)
        result = await producer.send_many(TOPIC, numbered(range(500)))
        result.raise_for_errors()
    records = cluster.log(TOPIC)
    assert numbers(records) == list(range(500))
    assert {record.compression for record in records} == {codec}


# -- the retries that are left, and the producer id --------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_retries_are_used_up(retries: int) -> None:
    async with faulty(retries=retries) as (cluster, producer):
        cluster.fail("Produce", code=NotEnoughReplicasError, times=retries + 1)
        with pytest.raises(NotEnoughReplicasError, match=rf"{TOPIC}-0") as caught:
            await producer.send(TOPIC, b"v")
        assert not caught.value.possibly_written
        assert cluster.requests["Produce"] == retries + 1
        assert (await producer.send(TOPIC, b"w")).offset == 0


@pytest.mark.parametrize("code", [7, 14, 15, 16, 51, 13])
async def test_the_producer_id_is_asked_for_until_it_comes(code: int) -> None:
    async with faulty(faults=[Fault(api="InitProducerId", code=code, times=3)]) as (cluster, producer):
        assert (await producer.send(TOPIC, b"v")).offset == 0
    assert cluster.requests["InitProducerId"] == 4


async def test_each_try_for_a_producer_id_asks_another_broker() -> None:
    fault = Fault(api="InitProducerId", code=14, times=5)
    async with faulty(brokers=3, faults=[fault]) as (cluster, producer):
        assert (await producer.send(TOPIC, b"v")).offset == 0
    asked = [request.broker for request in cluster.received if request.api == "InitProducerId"]
    assert len(asked) == 6
    assert all(broker != last for last, broker in pairwise(asked))


@pytest.mark.parametrize("code", [31, 35, 53, 48, 4242])
async def test_no_producer_id_for_good(code: int) -> None:
    expected = error_classes_by_code().get(code, UnknownKafkaError)
    async with faulty(faults=[Fault(api="InitProducerId", code=code)], ready=False) as (cluster, producer):
        with pytest.raises(expected, match=r"InitProducerId on .*fake-1:9092"):
            await producer.send(TOPIC, b"v")
        with pytest.raises(expected):
            await producer.send(TOPIC, b"w")
    assert cluster.requests["InitProducerId"] == 1
    assert cluster.requests["Produce"] == 0


async def test_a_broker_without_producer_ids_serves_only_plain_producers() -> None:
    without = {"api_versions": {"InitProducerId": None}}
    async with faulty(cluster=without, ready=False) as (_, producer):
        with pytest.raises(KafkaError, match="InitProducerId") as caught:
            await producer.send(TOPIC, b"v")
        assert caught.value.is_fatal
    async with faulty(cluster=without, idempotent=False) as (cluster, producer):
        assert (await producer.send(TOPIC, b"v")).offset == 0
    (record,) = cluster.log(TOPIC)
    assert (record.producer_id, record.producer_epoch, record.sequence) == (-1, -1, -1)


@pytest.mark.parametrize("ends_by", ["a fatal answer", "an exception"])
async def test_the_end_of_the_producer_says_which_records_may_be_written(ends_by: str) -> None:
    deliveries = []
    with contextlib.suppress(LookupError):
        async with faulty(brokers=2, partitions=2, close_timeout=0.01) as (cluster, producer):
            cluster.move_leader(TOPIC, 0, 1)
            cluster.move_leader(TOPIC, 1, 2)
            await producer.send(TOPIC, b"0:", partition=0)
            await producer.send(TOPIC, b"0:", partition=1)
            held = cluster.fail("Produce", broker=2, after_append=True, hold=True)
            deliveries.append(await producer.enqueue(TOPIC, b"1:", partition=1))
            await held.struck()
            if ends_by == "an exception":
                cluster.move_leader(TOPIC, 0, -1)
                await producer.partitions_for(TOPIC)
                deliveries.append(await producer.enqueue(TOPIC, b"1:", partition=0))
                raise LookupError
            cluster.fail("Produce", broker=1, code=ClusterAuthorizationFailedError)
            deliveries.append(await producer.enqueue(TOPIC, b"1:", partition=0))
            assert isinstance(await error_of(deliveries[1]), ClusterAuthorizationFailedError)
    on_the_wire, refused = [delivery.exception for delivery in deliveries]
    assert on_the_wire is not None
    assert on_the_wire.possibly_written
    assert "may be in the log" in str(on_the_wire)
    assert refused is not None
    assert not refused.possibly_written

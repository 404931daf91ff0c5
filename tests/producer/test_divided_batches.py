"""Batches that a broker does not take as they are: too large for it, or with records it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faulty import TOPIC, enqueue, error_of, faulty, numbered, numbers, offsets

from krafka import (
    InvalidRecordError,
    InvalidTimestampError,
    MessageTooLargeError,
    NotLeaderOrFollowerError,
    RecordListTooLargeError,
    SendManyError,
)

if TYPE_CHECKING:
    from krafka import Producer
    from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio

SMALL = {"max.message.bytes": "400"}


def together(producer: Producer, values: list[bytes], topic: str = "small") -> list:
    """Enqueue into one batch."""
    return [producer.enqueue_nowait(topic, value, key=b"k") for value in values]


async def small(cluster: FakeCluster, producer: Producer, **config: str) -> None:
    cluster.create_topic("small", 1, config=config or SMALL)
    await producer.partitions_for("small")


class TestTooLarge:
    @pytest.mark.parametrize("idempotent", [True, False])
    async def test_a_batch_is_divided_until_it_fits(self, idempotent: bool) -> None:
        async with faulty(idempotent=idempotent) as (cluster, producer):
            await small(cluster, producer)
            deliveries = together(producer, numbered(range(50)))
            assert await offsets(deliveries) == list(range(50))
            await producer.flush()
        records = cluster.log("small")
        assert numbers(records) == list(range(50))
        assert {record.producer_epoch for record in records} == ({0} if idempotent else {-1})

    async def test_later_batches_are_made_small_enough(self) -> None:
        async with faulty() as (cluster, producer):
            await small(cluster, producer)
            await offsets(together(producer, numbered(range(50))))
            asked = cluster.requests["Produce"]
            await offsets(together(producer, numbered(range(50, 100))))
            batches = len({record.batch for record in cluster.log("small")[50:]})
            assert cluster.requests["Produce"] - asked == batches
        assert numbers(cluster.log("small")) == list(range(100))

    async def test_batches_behind_it_keep_their_places(self) -> None:
        async with faulty(batch_size=2000) as (cluster, producer):
            await small(cluster, producer, **{"max.message.bytes": "1200"})
            result = await producer.send_many("small", numbered(range(1000)))
            assert [metadata.offset for metadata in result] == list(range(1000))
        assert numbers(cluster.log("small")) == list(range(1000))

    async def test_a_batch_too_large_for_a_segment(self) -> None:
        async with faulty() as (cluster, producer):
            cluster.fail("Produce", topic=TOPIC, code=RecordListTooLargeError)
            deliveries = together(producer, numbered(range(4)), TOPIC)
            assert await offsets(deliveries) == [0, 1, 2, 3]

    async def test_one_record_too_large_fails_alone(self) -> None:
        async with faulty() as (cluster, producer):
            await small(cluster, producer)
            values = numbered(range(5))
            values[2] = b"x" * 1000
            deliveries = together(producer, values)
            errors = [await error_of(delivery) for delivery in deliveries]
            assert [type(error) for error in errors if error is not None] == [MessageTooLargeError]
            text = str(errors[2])
            for told in (
                "small-0",
                "max.message.bytes",
                "a batch of one record",
                "bytes encoded",
                "bytes as it was sent",
            ):
                assert told in text
            assert (await producer.send("small", b"5:", key=b"k")).offset == 4
        assert numbers(cluster.log("small")) == [0, 1, 3, 4, 5]

    async def test_no_retry_is_needed_for_it(self) -> None:
        async with faulty(retries=0) as (cluster, producer):
            await small(cluster, producer)
            assert await offsets(together(producer, numbered(range(20)))) == list(range(20))

    async def test_flush_waits_for_every_part(self) -> None:
        async with faulty() as (cluster, producer):
            await small(cluster, producer)
            deliveries = together(producer, numbered(range(40)))
            await producer.flush()
            assert all(delivery.done and delivery.exception is None for delivery in deliveries)

    async def test_a_caller_hears_of_its_record_before_the_last_part_ends(self) -> None:
        async with faulty() as (cluster, producer):
            await small(cluster, producer)
            deliveries = together(producer, numbered(range(40)))
            held = cluster.fail("Produce", topic="small", skip=6, hold=True)
            assert (await deliveries[0]).offset == 0
            assert not deliveries[-1].done
            assert deliveries[-1].metadata is None
            assert deliveries[-1].exception is None
            held.release()
            assert (await deliveries[-1]).offset == 39

    async def test_parts_are_retried_like_any_batch(self) -> None:
        async with faulty() as (cluster, producer):
            await small(cluster, producer)
            cluster.fail("Produce", topic="small", skip=4, times=3, disconnect=True, after_append=True)
            assert [await error_of(each) for each in together(producer, numbered(range(30)))] == [None] * 30
        assert numbers(cluster.log("small")) == list(range(30))

    async def test_after_an_attempt_without_an_answer_it_is_not_divided(self) -> None:
        async with faulty() as (cluster, producer):
            cluster.fail("Produce", topic=TOPIC, disconnect=True, after_append=True)
            cluster.fail("Produce", topic=TOPIC, code=MessageTooLargeError, skip=1)
            deliveries = together(producer, numbered(range(4)), TOPIC)
            errors = [await error_of(delivery) for delivery in deliveries]
            assert all(error is not None and error.possibly_written for error in errors)
            await producer.send(TOPIC, b"4:")
        assert numbers(cluster.log(TOPIC)) == [0, 1, 2, 3, 4]

    async def test_memory_is_given_back(self) -> None:
        async with faulty(buffer_memory=20_000, batch_size=5_000) as (cluster, producer):
            await small(cluster, producer)
            for round_of in range(5):
                values = numbered(range(round_of * 500, round_of * 500 + 500))
                result = await producer.send_many("small", values)
                assert not result.failed
            assert producer._engine_or_none is not None
            accumulator = producer._engine_or_none.accumulator
            assert accumulator.memory.available == 20_000
            assert not accumulator.incomplete
        assert numbers(cluster.log("small")) == list(range(2500))

    async def test_leaving_in_haste_gives_the_parts_their_outcome(self) -> None:
        deliveries = []
        with pytest.raises(ZeroDivisionError):
            async with faulty(close_timeout=0.05) as (cluster, producer):
                await small(cluster, producer)
                deliveries = together(producer, numbered(range(40)))
                cluster.fail("Produce", topic="small", skip=6, hold=True, times=None)
                await deliveries[0]
                raise ZeroDivisionError
        errors = [await error_of(delivery) for delivery in deliveries]
        written = sum(error is None for error in errors)
        assert 0 < written < 40
        assert all(error is None for error in errors[:written])
        assert all(error is not None for error in errors[written:])


class TestRecordsToBlame:
    async def test_only_those_fail_that_the_broker_named(self) -> None:
        async with faulty() as (cluster, producer):
            cluster.create_topic("compacted", 1, config={"cleanup.policy": "compact"})
            await producer.partitions_for("compacted")
            deliveries = [
                producer.enqueue_nowait("compacted", value, key=None if n % 3 == 1 else b"k")
                for n, value in enumerate(numbered(range(10)))
            ]
            errors = [await error_of(delivery) for delivery in deliveries]
            named = [n for n, error in enumerate(errors) if error is not None]
            assert named == [1, 4, 7]
            for n in named:
                assert type(errors[n]) is InvalidRecordError
                assert f"record {n} of a batch of 10" in str(errors[n])
                assert not errors[n].possibly_written  # type: ignore[union-attr]
            innocent = [n for n in range(10) if n not in named]
            assert [(await deliveries[n]).offset for n in innocent] == list(range(7))
        records = cluster.log("compacted")
        assert numbers(records) == innocent
        # Nothing was numbered behind it, so that its unused numbers could be given again.
        assert {record.producer_epoch for record in records} == {0}

    async def test_the_only_one_named_has_the_brokers_own_code(self) -> None:
        async with faulty() as (cluster, producer):
            cluster.fail(
                "Produce", topic=TOPIC, code=InvalidTimestampError, record_errors={1: "is from the future"}
            )
            deliveries = together(producer, numbered(range(3)), TOPIC)
            errors = [await error_of(delivery) for delivery in deliveries]
            assert [type(error) for error in errors] == [type(None), InvalidTimestampError, type(None)]
            assert "is from the future" in str(errors[1])
        assert numbers(cluster.log(TOPIC)) == [0, 2]

    async def test_all_of_them(self) -> None:
        async with faulty() as (cluster, producer):
            cluster.create_topic("compacted", 1, config={"cleanup.policy": "compact"})
            with pytest.raises(SendManyError) as caught:
                (await producer.send_many("compacted", [b"1", b"2"])).raise_for_errors()
            assert [index for index, _ in caught.value.failed] == [0, 1]
            assert (await producer.send("compacted", b"v", key=b"k")).offset == 0

    async def test_batches_behind_it_go_under_a_new_epoch(self) -> None:
        async with faulty(batch_size=400) as (cluster, producer):
            await offsets(await enqueue(producer, numbered([0])))
            cluster.fail("Produce", topic=TOPIC, code=InvalidRecordError, record_errors={0: "bad", 2: "bad"})
            deliveries = await enqueue(producer, numbered(range(1, 60)))
            errors = [await error_of(delivery) for delivery in deliveries]
            failed = [n for n, error in enumerate(errors, 1) if error is not None]
            assert failed == [1, 3]
        records = cluster.log(TOPIC)
        assert numbers(records) == [n for n in range(60) if n not in failed]
        assert [record.producer_epoch for record in records] == [0] + [1] * 57

    async def test_named_records_hear_of_it_before_the_others_are_in_the_log(self) -> None:
        async with faulty() as (cluster, producer):
            cluster.fail("Produce", topic=TOPIC, code=InvalidRecordError, record_errors={1: "bad"})
            held = cluster.fail("Produce", topic=TOPIC, hold=True, skip=1)
            deliveries = together(producer, numbered(range(3)), TOPIC)
            assert type(await error_of(deliveries[1])) is InvalidRecordError
            assert not deliveries[0].done
            held.release()
            assert await offsets([deliveries[0], deliveries[2]]) == [0, 1]

    async def test_the_rest_is_retried_and_divided_like_any_batch(self) -> None:
        async with faulty() as (cluster, producer):
            cluster.fail("Produce", topic=TOPIC, code=InvalidRecordError, record_errors={0: "bad", 9: "bad"})
            cluster.fail("Produce", topic=TOPIC, code=MessageTooLargeError)
            cluster.fail("Produce", topic=TOPIC, code=NotLeaderOrFollowerError)
            cluster.fail("Produce", topic=TOPIC, code=InvalidRecordError, record_errors={1: "bad too"})
            deliveries = together(producer, numbered(range(10)), TOPIC)
            errors = [await error_of(delivery) for delivery in deliveries]
            failed = [n for n, error in enumerate(errors) if error is not None]
            assert failed == [0, 2, 9]
        assert numbers(cluster.log(TOPIC)) == [1, 3, 4, 5, 6, 7, 8]

    @pytest.mark.parametrize("index", [-1, 3, 2**31 - 1])
    async def test_a_record_that_is_not_in_the_batch_blames_all(self, index: int) -> None:
        async with faulty() as (cluster, producer):
            cluster.fail("Produce", topic=TOPIC, code=InvalidRecordError, record_errors={index: "bad"})
            deliveries = together(producer, numbered(range(3)), TOPIC)
            errors = [await error_of(delivery) for delivery in deliveries]
            assert [type(error) for error in errors] == [InvalidRecordError] * 3
            assert (await producer.send(TOPIC, b"3:")).offset == 0
        assert numbers(cluster.log(TOPIC)) == [3]

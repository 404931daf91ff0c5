"""Who waits for room and in which order, what a flush waits for, and how many requests it all takes."""

from __future__ import annotations

import anyio
import pytest
from faulty import ONE_RECORD_A_BATCH, TOPIC, enqueue, faulty, numbered, numbers, offsets

from krafka import BufferFullError, ProducerClosedError, RecordTooLargeError
from krafka._state import accumulator
from krafka.errors import NotEnoughReplicasError

pytestmark = pytest.mark.anyio


def letter(which: str) -> bytes:
    """A record of which two fit into the buffer of these tests."""
    return which.encode() * 9_000


async def test_records_enter_a_full_buffer_in_the_order_they_came() -> None:
    async with faulty(buffer_memory=20_000, batch_size=10_000) as (cluster, producer):
        fault = cluster.fail("Produce", hold=True)
        await enqueue(producer, [letter("a"), letter("b")])
        with pytest.raises(BufferFullError):
            producer.enqueue_nowait(TOPIC, b"x" * 3_000)
        async with anyio.create_task_group() as task_group:
            for which in "cdefgh":
                task_group.start_soon(producer.send, TOPIC, letter(which))
                await anyio.wait_all_tasks_blocked()
            # A small record that would fit does not get ahead of those that wait.
            task_group.start_soon(producer.send, TOPIC, b"i")
            await anyio.wait_all_tasks_blocked()
            fault.release()
    assert b"".join((record.value or b"")[:1] for record in cluster.log(TOPIC)) == b"abcdefghi"


async def test_who_is_cancelled_gives_the_place_back() -> None:
    async with faulty(buffer_memory=20_000, batch_size=10_000) as (cluster, producer):
        fault = cluster.fail("Produce", hold=True)
        await enqueue(producer, [letter("a"), letter("b")])
        scopes: dict[str, anyio.CancelScope] = {}

        async def send(which: str) -> None:
            with anyio.CancelScope() as scopes[which]:
                await producer.send(TOPIC, letter(which))

        async with anyio.create_task_group() as task_group:
            for which in "cdef":
                task_group.start_soon(send, which)
                await anyio.wait_all_tasks_blocked()
            scopes["c"].cancel()
            scopes["e"].cancel()
            await anyio.wait_all_tasks_blocked()
            fault.release()
        # The whole buffer is free again: two more fit at once.
        await producer.flush()
        producer.enqueue_nowait(TOPIC, letter("g"))
        producer.enqueue_nowait(TOPIC, letter("h"))
    assert b"".join((record.value or b"")[:1] for record in cluster.log(TOPIC)) == b"abdfgh"


async def test_a_caller_cancelled_later_does_not_take_the_record_along() -> None:
    async with faulty() as (cluster, producer):
        fault = cluster.fail("Produce", hold=True)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(producer.send, TOPIC, b"v")
                await fault.struck()
                scope.cancel()
        fault.release()
        await producer.flush()
        assert [record.value for record in cluster.log(TOPIC)] == [b"v"]


async def test_a_record_larger_than_the_buffer_is_refused_at_once() -> None:
    async with faulty(buffer_memory=20_000, batch_size=10_000, max_request_size=1_000_000) as (_, producer):
        with pytest.raises(RecordTooLargeError, match="buffer_memory"):
            await producer.send(TOPIC, b"x" * 30_000)


async def test_memory_comes_back_whatever_the_end_of_a_record() -> None:
    async with faulty(buffer_memory=20_000, batch_size=10_000, retries=1) as (cluster, producer):
        cluster.fail("Produce", code=87)
        cluster.fail("Produce", disconnect=True, skip=1, times=2)
        cluster.fail("Produce", code=NotEnoughReplicasError, skip=3, times=2)
        result = await producer.send_many(TOPIC, [letter(which) for which in "abcdefghijkl"])
        assert len(result) == 12
        assert result.failed
        producer.enqueue_nowait(TOPIC, letter("y"))
        producer.enqueue_nowait(TOPIC, letter("z"))
        with pytest.raises(BufferFullError):
            producer.enqueue_nowait(TOPIC, letter("!"))


@pytest.mark.parametrize("linger", [0.0, 30.0])
async def test_a_flush_waits_for_what_came_before_it_and_for_nothing_else(linger: float) -> None:
    async with faulty(partitions=2, brokers=2, linger=linger) as (cluster, producer):
        before = cluster.fail("Produce", topic=TOPIC, partition=0, hold=True)
        cluster.fail("Produce", topic=TOPIC, partition=1, hold=True, times=None)
        early = await producer.enqueue(TOPIC, b"early", partition=0)
        flushed = anyio.Event()

        async def flush() -> None:
            await producer.flush()
            flushed.set()

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(flush)
            await before.struck()
            late = await producer.enqueue(TOPIC, b"late", partition=1)
            await anyio.wait_all_tasks_blocked()
            assert not flushed.is_set()
            before.release()
            await flushed.wait()
            assert early.done
            assert not late.done
            cluster.heal()
            await producer.flush()
            assert late.done


async def test_a_flush_waits_through_retries() -> None:
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=NotEnoughReplicasError, times=3)
        cluster.fail("Produce", disconnect=True, skip=2, after_append=True)
        deliveries = await enqueue(producer, numbered(range(1, 11)))
        await producer.flush()
        assert all(delivery.done for delivery in deliveries)
        assert await offsets(deliveries) == list(range(1, 11))


async def test_max_in_flight_of_one_is_one_request_at_a_time() -> None:
    async with faulty(max_in_flight=1, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        fault = cluster.fail("Produce", hold=True)
        deliveries = await enqueue(producer, numbered(range(1, 11)))
        await fault.struck()
        await anyio.wait_all_tasks_blocked()
        assert cluster.brokers[1].unread_requests == 0
        fault.release()
        cluster.fail("Produce", code=NotEnoughReplicasError, skip=2)
        assert await offsets(deliveries) == list(range(1, 11))
    assert numbers(cluster.log(TOPIC)) == list(range(11))


@pytest.mark.parametrize("limit", [2, 3, 5])
async def test_no_more_than_max_in_flight_and_no_fewer(limit: int) -> None:
    async with faulty(max_in_flight=limit, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        one_request = cluster.fail("Produce", hold=True)
        deliveries = await enqueue(producer, numbered(range(1, 21)))
        await one_request.struck()
        await anyio.wait_all_tasks_blocked()
        assert cluster.brokers[1].unread_requests == limit - 1
        one_request.release()
        assert await offsets(deliveries) == list(range(1, 21))


async def test_records_that_linger_share_a_request() -> None:
    async with faulty(linger=30.0) as (cluster, producer):
        deliveries = []
        for value in numbered(range(20)):
            deliveries.append(await producer.enqueue(TOPIC, value))
            await anyio.wait_all_tasks_blocked()
        assert cluster.requests["Produce"] == 0
        await producer.flush()
        assert await offsets(deliveries) == list(range(20))
        assert cluster.requests["Produce"] == 1


async def test_a_thousand_sends_at_once_share_requests() -> None:
    async with faulty(partitions=4) as (cluster, producer):
        await producer.send(TOPIC, b"warm")
        before = cluster.requests["Produce"]
        results: list[tuple[int, int]] = []

        async def send(number: int) -> None:
            metadata = await producer.send(TOPIC, b"%d:" % number, key=b"%d" % number)
            results.append((metadata.partition, metadata.offset))

        async with anyio.create_task_group() as task_group:
            for number in range(1000):
                task_group.start_soon(send, number)
        assert len(set(results)) == 1000
        assert cluster.requests["Produce"] - before <= 10
    assert sorted(numbers(record for record in cluster.log(TOPIC) if record.value != b"warm")) == list(
        range(1000)
    )


async def test_one_request_carries_every_partition_of_a_broker() -> None:
    async with faulty(brokers=2, partitions=12) as (cluster, producer):
        deliveries = [producer.enqueue_nowait(TOPIC, b"v", partition=partition) for partition in range(12)]
        await offsets(deliveries)
    produced = [request for request in cluster.received if request.api == "Produce"]
    carried = sorted(
        sorted(partition.index for topic in request.body.topic_data for partition in topic.partition_data)
        for request in produced
    )
    assert carried == [list(range(0, 12, 2)), list(range(1, 12, 2))]


async def test_a_partition_that_fails_does_not_hold_up_the_others() -> None:
    async with faulty(partitions=2) as (cluster, producer):
        cluster.fail("Produce", topic=TOPIC, partition=0, code=NotEnoughReplicasError, times=None)
        stuck = await producer.enqueue(TOPIC, b"v", partition=0)
        for number in range(10):
            assert (await producer.send(TOPIC, b"v", partition=1)).offset == number
        assert not stuck.done
        cluster.heal()
        assert (await stuck).offset == 0


async def test_closing_does_not_wait_for_who_only_asks_about_a_topic() -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Metadata", topic="unknown", hold=True, times=None)
        async with anyio.create_task_group() as task_group:

            async def ask() -> None:
                with pytest.raises(ProducerClosedError):
                    await producer.partitions_for("unknown")

            task_group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await producer.close()
            with pytest.raises(ProducerClosedError):
                await producer.partitions_for("unknown")


async def test_a_little_memory_is_given_at_the_end_of_max_block_at_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accumulator, "PATIENCE", 3600.0)
    async with faulty(max_block=1.0, buffer_memory=80_000) as (_, producer):
        await producer.send(TOPIC, b"0:")
        engine = producer._engine_or_none
        assert engine is not None
        memory = engine.accumulator.memory
        lent = memory.join(80_000, lambda: None)
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(producer.send, TOPIC, bytes(10))
            await anyio.wait_all_tasks_blocked()
            assert memory.waiting == 1
            # Less than an eighth of the budget: the line stays as it is.
            memory.release(5_000)
            assert memory.waiting == 1
        memory.release(lent.granted - 5_000)

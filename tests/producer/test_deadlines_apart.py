"""Whose time is up when a broker takes nothing for long: the records whose own it is, each told what was in the way."""

from __future__ import annotations

import math
from functools import partial

import anyio
import pytest
import trio.testing
from faulty import HURRIED, TOPIC, error_of, faulty, numbered

from krafka import DeliveryTimeoutError, Producer
from krafka._io.engine import Engine
from krafka.errors import NotEnoughReplicasError
from krafka.testing import FakeCluster

MOCK_CLOCK = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(
            ("trio", {"clock": trio.testing.MockClock(rate=0.0, autojump_threshold=0.0)}), id="mock-clock"
        )
    ],
)

pytestmark = pytest.mark.anyio


@MOCK_CLOCK
@pytest.mark.parametrize("away", [5.0, 40.0])
async def test_a_record_a_second_while_all_brokers_are_away(
    away: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock that tells how long a batch is open is the system's, unless a wall clock is given.
    monkeypatch.setattr("krafka.producer.Engine", partial(Engine, wall_clock=lambda: 1))
    ended: dict[int, float] = {}
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(
            cluster.bootstrap, connector=cluster, **HURRIED | {"delivery_timeout": 20.0}
        ) as producer:
            await producer.send(TOPIC, b"before")
            cluster.stop_broker(1)
            start = anyio.current_time()

            async def one(number: int) -> None:
                await anyio.sleep_until(start + number)
                try:
                    await producer.send(TOPIC, b"%d" % number)
                except DeliveryTimeoutError:
                    ended[number] = anyio.current_time() - start - number
                else:
                    ended[number] = math.inf

            async with anyio.create_task_group() as task_group:
                for number in range(30):
                    task_group.start_soon(one, number)
                await anyio.sleep_until(start + away)
                cluster.start_broker(1)
        written = [int(record.value or b"") for record in cluster.log(TOPIC)[1:]]
    late = [number for number, took in ended.items() if took < math.inf]
    assert sorted(late) == [number for number in range(30) if number + 20 <= away]
    assert all(19.7 <= ended[number] <= 20.001 for number in late)
    assert written == [number for number in range(30) if number not in late]


@MOCK_CLOCK
async def test_every_record_behind_one_that_is_refused_is_told_why() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(
            cluster.bootstrap,
            connector=cluster,
            **HURRIED
            | {"delivery_timeout": 4.0, "retry_backoff": 1.0, "retry_backoff_max": 1.0, "max_in_flight": 1},
        ) as producer:
            await producer.send(TOPIC, b"before")
            cluster.fail("Produce", code=NotEnoughReplicasError, times=10**9)
            deliveries = []
            for value in numbered(range(40)):
                deliveries.append(await producer.enqueue(TOPIC, value))
                await anyio.sleep(0.05)
            errors = [await error_of(delivery) for delivery in deliveries]
    for error in errors:
        assert isinstance(error, DeliveryTimeoutError)
        assert isinstance(error.__cause__, NotEnoughReplicasError)
        assert not error.possibly_written


@MOCK_CLOCK
async def test_a_partition_that_is_gone_is_called_so() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 3)
        async with Producer(
            cluster.bootstrap,
            connector=cluster,
            **HURRIED | {"delivery_timeout": 4.0, "metadata_max_age": 0.5, "linger": 2.0},
        ) as producer:
            await producer.partitions_for(TOPIC)
            delivery = await producer.enqueue(TOPIC, b"v", partition=2)
            cluster.delete_topic(TOPIC)
            cluster.create_topic(TOPIC, 1)
            error = await error_of(delivery)
    assert isinstance(error, DeliveryTimeoutError)
    assert "the topic has 1 partitions now, so this one is gone" in str(error)


@MOCK_CLOCK
async def test_a_quota_is_named() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(
            cluster.bootstrap, connector=cluster, **HURRIED | {"delivery_timeout": 4.0}
        ) as producer:
            cluster.fail("Produce", throttle_time_ms=60_000)
            await producer.send(TOPIC, b"first")
            error = await error_of(await producer.enqueue(TOPIC, b"second"))
    assert isinstance(error, DeliveryTimeoutError)
    assert "quota" in str(error)


async def test_unacknowledged_records_that_their_connection_does_not_take() -> None:
    async with faulty(acks="none", delivery_timeout=0.5, cluster={"capacity": 20_000}) as (cluster, producer):
        await producer.send(TOPIC, b"before")
        cluster.stop_reading()
        deliveries = [await producer.enqueue(TOPIC, bytes(50_000)) for _ in range(6)]
        errors = [await error_of(delivery) for delivery in deliveries]
        failed = [error for error in errors if error is not None]
        assert failed
        assert all(isinstance(error, DeliveryTimeoutError) for error in failed)
        # What is in the connection's hands may have left; what is not has not.
        assert failed[0].possibly_written
        assert not failed[-1].possibly_written
        cluster.read_normally()
        await producer.send(TOPIC, b"after")
        await producer.flush()
        engine = producer._engine_or_none
        assert engine is not None
        assert engine.accumulator.memory.available == producer.config.buffer_memory
        assert cluster.log(TOPIC)[-1].value == b"after"

"""Deadlines in every state a record can be in, and quotas that ask to wait."""

from __future__ import annotations

import anyio
import pytest
from faulty import ONE_RECORD_A_BATCH, TOPIC, causes, enqueue, error_of, faulty, numbered, numbers, offsets
from trio.testing import MockClock

from krafka import (
    BufferTimeoutError,
    ConnectionFailedError,
    DeliveryTimeoutError,
    MetadataTimeoutError,
    Producer,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)
from krafka._io.engine import Engine
from krafka.errors import (
    CoordinatorNotAvailableError,
    KafkaError,
    LeaderNotAvailableError,
    MessageTooLargeError,
    NetworkError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumberError,
)
from krafka.testing import FakeCluster, Fault

pytestmark = pytest.mark.anyio

SOON = 0.4
UVLOOP_TICK = 0.002
"""Twice the step of uvloop's clock, by which a measured wait may be short."""


def autojump() -> pytest.MarkDecorator:
    """Trio with a clock that jumps over every wait; each test needs a clock of its own."""
    return pytest.mark.parametrize(
        "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="mock-clock")]
    )


def assert_caused_by(error: BaseException, cause: type[BaseException]) -> None:
    assert cause in [type(each) for each in causes(error)][1:]


# -- the deadline of a record ------------------------------------------------------------------------------------------


async def test_without_metadata() -> None:
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        cluster.auto_create_topics = False
        with pytest.raises(MetadataTimeoutError, match="delivery_timeout") as caught:
            await producer.send("no-such-topic", b"v")
        assert not caught.value.possibly_written
        assert_caused_by(caught.value, UnknownTopicOrPartitionError)


async def test_without_an_answer_to_metadata() -> None:
    async with faulty(max_block=SOON) as (cluster, producer):
        cluster.fail("Metadata", stall=True, times=None)
        with pytest.raises(MetadataTimeoutError, match="max_block") as caught:
            await producer.send("another", b"v")
        assert not caught.value.possibly_written


async def test_without_a_leader() -> None:
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.move_leader(TOPIC, 0, to=-1)
        with pytest.raises(
            DeliveryTimeoutError, match=rf"{TOPIC}-0 .*delivery_timeout.*has no leader"
        ) as caught:
            await producer.send(TOPIC, b"1:")
        assert not caught.value.possibly_written
        assert isinstance(caught.value.__cause__, KafkaError)
        cluster.move_leader(TOPIC, 0, to=1)
        assert (await producer.send(TOPIC, b"2:")).offset == 1


async def test_without_a_leader_from_the_start() -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic(TOPIC, 1)
        cluster.move_leader(TOPIC, 0, to=-1)
        async with Producer(
            cluster.bootstrap, connector=cluster, delivery_timeout=SOON, retry_backoff=0.01
        ) as producer:
            with pytest.raises(DeliveryTimeoutError, match="no leader") as caught:
                await producer.send(TOPIC, b"v")
            assert_caused_by(caught.value, LeaderNotAvailableError)


async def test_in_backoff() -> None:
    async with faulty(delivery_timeout=SOON, retry_backoff=60, retry_backoff_max=60) as (cluster, producer):
        cluster.fail("Produce", code=NotEnoughReplicasError, times=None)
        with pytest.raises(
            DeliveryTimeoutError, match=r"sent 1 times in vain.*NOT_ENOUGH_REPLICAS"
        ) as caught:
            await producer.send(TOPIC, b"v")
        assert not caught.value.possibly_written
        assert_caused_by(caught.value, NotEnoughReplicasError)
        cluster.heal()


async def test_refused_until_the_deadline() -> None:
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        fault = cluster.fail("Produce", code=NotEnoughReplicasError, times=None)
        with pytest.raises(DeliveryTimeoutError, match=r"times in vain|not answered") as caught:
            await producer.send(TOPIC, b"v")
        assert fault.hits > 2
        # The deadline comes between two tries, or on a busy machine in the middle of one.
        assert caught.value.possibly_written is ("not answered" in str(caught.value))
        cluster.heal()
        # A try that was under way then may be appended now.
        assert (await producer.send(TOPIC, b"w")).offset == len(cluster.log(TOPIC)) - 1
        assert len(cluster.log(TOPIC)) == 1 or caught.value.possibly_written


@pytest.mark.parametrize(
    "code", [NotEnoughReplicasError, OutOfOrderSequenceNumberError, MessageTooLargeError]
)
async def test_an_answer_that_calls_for_another_try_when_time_is_up(
    code: type[KafkaError], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine an answer is looked at before the alarm that was due.
    monkeypatch.setattr(Engine, "_ring", lambda *_: None)
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=code, delay=2 * SOON)
        deliveries = [producer.enqueue_nowait(TOPIC, b"1:") for _ in range(2)]
        errors = [await error_of(delivery) for delivery in deliveries]
        assert [type(error) for error in errors] == [DeliveryTimeoutError] * 2
        assert errors[0] is not None
        assert type(errors[0].__cause__) is code
        assert not errors[0].possibly_written
        assert "sent 1 times in vain" in str(errors[0])


async def test_no_time_would_have_helped_a_record_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "_ring", lambda *_: None)
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        cluster.fail("Produce", code=MessageTooLargeError, delay=2 * SOON)
        with pytest.raises(MessageTooLargeError):
            await producer.send(TOPIC, b"1:")


@pytest.mark.parametrize("after_append", [False, True], ids=["not written", "written"])
async def test_on_the_wire(after_append: bool) -> None:
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        fault = cluster.fail("Produce", hold=True, after_append=after_append)
        with pytest.raises(DeliveryTimeoutError, match=r"sent and not answered.*may be in the log") as caught:
            await producer.send(TOPIC, b"1:")
        assert caught.value.possibly_written
        fault.release()
        await producer.flush()
        assert (await producer.send(TOPIC, b"2:")).offset == 2
    # The broker took the records in their order, whatever was told of the one in between.
    assert numbers(cluster.log(TOPIC)) == [0, 1, 2]


async def test_behind_one_on_the_wire() -> None:
    async with faulty(delivery_timeout=SOON, max_in_flight=1, batch_size=ONE_RECORD_A_BATCH) as (
        cluster,
        producer,
    ):
        await producer.send(TOPIC, b"0:")
        fault = cluster.fail("Produce", hold=True)
        first, second = await enqueue(producer, numbered([1, 2]))
        errors = [await error_of(first), await error_of(second)]
        assert all(type(error) is DeliveryTimeoutError for error in errors)
        assert [error is not None and error.possibly_written for error in errors] == [True, False]
        assert "never sent" in str(errors[1])
        fault.release()
        assert (await producer.send(TOPIC, b"3:")).offset == 2
    assert numbers(cluster.log(TOPIC)) == [0, 1, 3]


async def test_after_the_answer_was_lost() -> None:
    async with faulty(delivery_timeout=SOON, retry_backoff=60, retry_backoff_max=60) as (cluster, producer):
        cluster.fail("Produce", disconnect=True, after_append=True)
        with pytest.raises(DeliveryTimeoutError, match="may be in the log") as caught:
            await producer.send(TOPIC, b"v")
        assert caught.value.possibly_written
        assert_caused_by(caught.value, NetworkError)
    assert [record.value for record in cluster.log(TOPIC)] == [b"v"]


async def test_while_the_broker_is_down() -> None:
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"v")
        cluster.stop_broker(1, propagate=False)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(
            DeliveryTimeoutError,
            match=r"never sent; there is no connection to its leader, broker 1;.*refused",
        ) as caught:
            await producer.send(TOPIC, b"w")
        assert not caught.value.possibly_written
        assert_caused_by(caught.value, ConnectionFailedError)


async def test_while_the_broker_takes_connections_and_says_nothing() -> None:
    async with faulty(brokers=2, delivery_timeout=SOON, connect_timeout=0.03) as (cluster, producer):
        cluster.pause_broker(2)
        cluster.drop_connections(2)
        await anyio.wait_all_tasks_blocked()
        cluster.move_leader(TOPIC, 0, to=2)
        with pytest.raises(DeliveryTimeoutError) as caught:
            await producer.send(TOPIC, b"v")
        assert not caught.value.possibly_written
        assert "connect_timeout" in str(caught.value)
        cluster.resume_broker(2)


async def test_without_a_producer_id() -> None:
    nobody = Fault(api="InitProducerId", code=CoordinatorNotAvailableError, times=None)
    async with faulty(delivery_timeout=SOON, faults=[nobody]) as (cluster, producer):
        with pytest.raises(DeliveryTimeoutError, match=r"never sent.*COORDINATOR_NOT_AVAILABLE") as caught:
            await producer.send(TOPIC, b"v")
        assert not caught.value.possibly_written
        assert_caused_by(caught.value, CoordinatorNotAvailableError)
        cluster.heal()
        assert (await producer.send(TOPIC, b"w")).offset == 0


async def test_in_linger() -> None:
    async with faulty(delivery_timeout=60, linger=0.05) as (_, producer):
        begun = anyio.current_time()
        delivery = await producer.enqueue(TOPIC, b"v")
        await delivery
        assert anyio.current_time() - begun >= 0.05 - UVLOOP_TICK


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_block": SOON}, BufferTimeoutError),
        ({"delivery_timeout": SOON, "max_block": 60}, DeliveryTimeoutError),
    ],
    ids=["max_block", "delivery_timeout"],
)
async def test_waiting_for_memory(limits: dict[str, float], expected: type[KafkaError]) -> None:
    async with faulty(buffer_memory=12_000, batch_size=10_000, **limits) as (cluster, producer):
        fault = cluster.fail("Produce", hold=True)
        first = await producer.enqueue(TOPIC, b"x" * 9_000)
        with pytest.raises(expected, match="buffer_memory") as caught:
            await producer.send(TOPIC, b"z" * 9_000)
        assert not caught.value.possibly_written
        fault.release()
        await error_of(first)
        assert (await producer.send(TOPIC, b"y" * 9_000)).offset == 1
    assert [record.value[:1] for record in cluster.log(TOPIC) if record.value] == [b"x", b"y"]


async def test_an_expired_batch_does_not_lend_its_number_to_another() -> None:
    async with faulty(delivery_timeout=SOON, batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"0:")
        fault = cluster.fail("Produce", hold=True, after_append=True)
        expired = await error_of(await producer.enqueue(TOPIC, numbered([1])[0]))
        assert type(expired) is DeliveryTimeoutError
        later = await enqueue(producer, numbered(range(2, 6)))
        fault.release()
        assert await offsets(later) == [2, 3, 4, 5]
    assert numbers(cluster.log(TOPIC)) == list(range(6))


# -- a clock that jumps ------------------------------------------------------------------------------------------------


@autojump()
async def test_two_minutes_pass_in_a_moment() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(cluster.bootstrap, connector=cluster) as producer:
            await producer.send(TOPIC, b"v")
            fault = cluster.fail("Produce", code=NotEnoughReplicasError, times=None)
            begun = anyio.current_time()
            with pytest.raises(DeliveryTimeoutError, match="within 120 s"):
                await producer.send(TOPIC, b"w")
            assert anyio.current_time() - begun == pytest.approx(120)
            # Backoff doubles from 0.1 to 1 second and stays there.
            assert 115 <= fault.hits <= 160
            cluster.heal()


@autojump()
async def test_a_silent_broker_is_left_after_each_request_timeout() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(cluster.bootstrap, connector=cluster) as producer:
            await producer.send(TOPIC, b"v")
            cluster.pause_broker(1)
            begun = anyio.current_time()
            with pytest.raises(DeliveryTimeoutError) as caught:
                await producer.send(TOPIC, b"w")
            assert anyio.current_time() - begun == pytest.approx(120)
            assert caught.value.possibly_written
            assert {RequestTimedOutError, ConnectionFailedError} & {
                type(each) for each in causes(caught.value)
            }
            cluster.resume_broker(1)
            assert (await producer.send(TOPIC, b"x")).offset in {1, 2}


@autojump()
async def test_a_quota_is_waited_for() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(cluster.bootstrap, connector=cluster) as producer:
            cluster.fail("Produce", throttle_time_ms=4_000)
            await producer.send(TOPIC, b"v")
            await producer.send(TOPIC, b"w")
        first, second = [request.received_at for request in cluster.received if request.api == "Produce"]
    assert second - first == pytest.approx(4, abs=0.01)


async def test_a_quota_is_waited_for_in_real_time() -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", throttle_time_ms=100)
        await producer.send(TOPIC, b"v")
        await producer.send(TOPIC, b"w")
        first, second = [request.received_at for request in cluster.received if request.api == "Produce"]
        assert second - first >= 0.1 - UVLOOP_TICK


@autojump()
async def test_one_brokers_quota_does_not_hold_up_another() -> None:
    async with FakeCluster(2) as cluster:
        cluster.create_topic(TOPIC, 2)
        async with Producer(cluster.bootstrap, connector=cluster) as producer:
            cluster.fail("Produce", broker=1, throttle_time_ms=60_000)
            await producer.send(TOPIC, b"v", partition=0)
            begun = anyio.current_time()
            assert (await producer.send(TOPIC, b"v", partition=1)).offset == 0
            assert anyio.current_time() - begun < 1
            assert (await producer.send(TOPIC, b"w", partition=0)).offset == 1
            assert anyio.current_time() - begun == pytest.approx(60, abs=0.1)


@autojump()
async def test_a_deadline_does_not_wait_for_a_quota() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(cluster.bootstrap, connector=cluster, delivery_timeout=5) as producer:
            cluster.fail("Produce", throttle_time_ms=60_000)
            await producer.send(TOPIC, b"v")
            begun = anyio.current_time()
            with pytest.raises(DeliveryTimeoutError) as caught:
                await producer.send(TOPIC, b"w")
            assert anyio.current_time() - begun == pytest.approx(5)
            assert not caught.value.possibly_written


@autojump()
async def test_an_answer_that_trickles_in_too_slowly() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        async with Producer(cluster.bootstrap, connector=cluster) as producer:
            cluster.fail("Produce", chunk_size=1, chunk_delay=5.0, after_append=True)
            begun = anyio.current_time()
            assert (await producer.send(TOPIC, b"v")).offset == 0
            assert 30 <= anyio.current_time() - begun <= 32
            assert cluster.brokers[1].connects == 2
    assert len(cluster.log(TOPIC)) == 1

"""Opening, leaving and closing a producer: what comes out, when, and what became of the records."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from krafka import (
    CloseTimeoutError,
    ConfigError,
    Delivery,
    MetadataNotReadyError,
    Producer,
    ProducerClosedError,
    ProducerConfig,
    ProducerCrashedError,
    ProducerStateError,
)

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

pytestmark = pytest.mark.anyio

# Port 1 on loopback: nothing listens there, so connecting is refused at once.
NOBODY = "127.0.0.1:1"


class OopsError(Exception):
    pass


def test_the_constructor_needs_no_event_loop_and_checks_everything() -> None:
    assert Producer(NOBODY).config.bootstrap_servers == (("127.0.0.1", 1),)
    assert Producer(ProducerConfig(bootstrap_servers=NOBODY, linger=0.5), acks="leader").config.linger == 0.5
    with pytest.raises(ConfigError, match=r"batch_size.*at least 1.*got 0"):
        Producer(NOBODY, batch_size=0)
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        Producer()
    with pytest.raises(TypeError, match="lingr"):
        Producer(NOBODY, lingr=1)  # type: ignore[call-arg]


async def test_before_and_after_the_block() -> None:
    producer = Producer(NOBODY)
    with pytest.raises(ProducerStateError, match="async with"):
        producer.enqueue_nowait("t", b"v")
    with pytest.raises(ProducerStateError, match="async with"):
        await producer.send("t", b"v")
    async with producer:
        assert not producer.closed
        with pytest.raises(MetadataNotReadyError, match="'t'"):
            producer.enqueue_nowait("t", b"v")
        with pytest.raises(anyio.WouldBlock):
            producer.enqueue_nowait("t", b"v")
    assert producer.closed
    for call in (
        producer.send("t", b"v"),
        producer.enqueue("t", b"v"),
        producer.flush(),
        producer.partitions_for("t"),
    ):
        with pytest.raises(ProducerClosedError):
            await call
    with pytest.raises(ProducerClosedError):
        producer.enqueue_nowait("t", b"v")
    with pytest.raises(ProducerStateError, match="opened once"):
        async with producer:
            raise AssertionError("opened twice")


async def test_the_bodys_exception_comes_out_bare() -> None:
    error = OopsError("mine")
    with pytest.raises(OopsError) as caught:
        async with Producer(NOBODY):
            raise error
    assert caught.value is error


async def test_the_bodys_exception_comes_out_bare_after_the_records(
    kafka: KafkaCluster, kafka_topic: str
) -> None:
    deliveries: list[Delivery] = []
    with pytest.raises(OopsError):
        async with Producer(kafka.bootstrap, linger=30) as producer:
            deliveries.extend([await producer.enqueue(kafka_topic, b"%d" % n) for n in range(100)])
            raise OopsError
    assert all(delivery.metadata is not None for delivery in deliveries)
    assert len(await kafka.read(kafka_topic)) == 100


async def test_a_cancelled_body_delivers_what_it_can(kafka: KafkaCluster, kafka_topic: str) -> None:
    with anyio.CancelScope() as scope:
        async with Producer(kafka.bootstrap, linger=30) as producer:
            delivery = await producer.enqueue(kafka_topic, b"in time")
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert delivery.metadata is not None


async def test_leaving_by_an_exception_is_bounded() -> None:
    async with anyio.create_task_group() as outside:
        with anyio.fail_after(60), pytest.raises(OopsError):
            async with Producer(NOBODY, close_timeout=0.2) as producer:
                outside.start_soon(_expect_closed, producer)
                await anyio.sleep(0.1)
                raise OopsError


async def _expect_closed(producer: Producer) -> None:
    with pytest.raises(ProducerClosedError):
        await producer.send("nowhere", b"v")


async def test_close_is_a_barrier_and_may_be_called_again(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with Producer(kafka.bootstrap, linger=30) as producer:
        deliveries = [await producer.enqueue(kafka_topic, b"%d" % n) for n in range(100)]
        await producer.close()
        assert all(delivery.metadata is not None for delivery in deliveries)
        assert producer.closed
        await producer.close()
        with pytest.raises(ProducerClosedError):
            await producer.send(kafka_topic, b"late")
    assert len(await kafka.read(kafka_topic)) == 100


async def test_close_waits_for_sends_that_wait_for_metadata(kafka: KafkaCluster, kafka_topic: str) -> None:
    placed = []
    started = anyio.Event()
    waiting = 0

    async def send(producer: Producer, number: int) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            started.set()
        placed.append(await producer.send(kafka_topic, b"%d" % number))

    async with Producer(kafka.bootstrap) as producer, anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(send, producer, number, name=f"send {number}")
        await started.wait()
        await producer.close()
    assert len(placed) == 20


async def test_close_past_its_timeout_tears_down_and_says_so() -> None:
    async with Producer(NOBODY) as producer, anyio.create_task_group() as tasks:
        tasks.start_soon(_expect_closed, producer)
        await anyio.sleep(0.05)
        with anyio.fail_after(60), pytest.raises(CloseTimeoutError, match=r"0\.2 s"):
            await producer.close(timeout=0.2)
        await producer.close()
    assert producer.closed


async def test_a_bug_in_a_background_task_cancels_the_body_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from krafka._io.metadata import MetadataRefresher

    async def broken(self: MetadataRefresher) -> None:
        await anyio.sleep(0.05)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(MetadataRefresher, "run", broken)
    async with anyio.create_task_group() as outside:
        with anyio.fail_after(60), pytest.raises(ProducerCrashedError, match="a bug") as caught:
            async with Producer(NOBODY) as producer:
                outside.start_soon(_expect_crash, producer)
                await anyio.sleep_forever()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.is_fatal


async def _expect_crash(producer: Producer) -> None:
    with pytest.raises(ProducerCrashedError, match="a bug"):
        await producer.send("nowhere", b"v")


async def test_cancelling_one_caller_leaves_the_others_alone(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with Producer(kafka.bootstrap, linger=0.3) as producer:
        await producer.partitions_for(kafka_topic)
        with anyio.move_on_after(0.05) as scope:
            await producer.send(kafka_topic, b"released early", partition=0)
        assert scope.cancelled_caught
        assert (await producer.send(kafka_topic, b"unharmed", partition=0)).offset == 1
    assert [record.value for record in await kafka.read(kafka_topic)] == [b"released early", b"unharmed"]


async def test_other_threads_and_processes_are_refused(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with Producer(kafka.bootstrap) as producer:
        await producer.partitions_for(kafka_topic)
        errors: list[BaseException] = []

        def elsewhere() -> None:
            try:
                producer.enqueue_nowait(kafka_topic, b"v")
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert isinstance(errors[0], ProducerStateError)
        assert "thread" in str(errors[0])
        child = os.fork()
        if child == 0:
            try:
                producer.enqueue_nowait(kafka_topic, b"v")
            except ProducerStateError as error:
                os._exit(7 if "process" in str(error) else 8)
            finally:
                os._exit(9)
        status = os.waitpid(child, 0)[1]  # noqa: ASYNC222 - the child exits at once
        assert os.waitstatus_to_exitcode(status) == 7
        await producer.send(kafka_topic, b"still fine")
    gc.collect()

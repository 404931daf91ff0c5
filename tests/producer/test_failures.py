"""What a caller is told when something is wrong: one clear error, in time, with its cause."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import anyio
import pytest

from krafka import (
    BufferTimeoutError,
    ConnectionFailedError,
    DeliveryTimeoutError,
    KafkaError,
    MetadataTimeoutError,
    Producer,
    RecordTooLargeError,
    RecordValidationError,
    UnknownTopicOrPartitionError,
)
from krafka.testing import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krafka import Delivery

pytestmark = pytest.mark.anyio


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it was caused by."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__


async def failed_send(producer: Producer, topic: str = "t", value: bytes = b"v") -> KafkaError:
    with anyio.fail_after(60), pytest.raises(KafkaError) as caught:
        await producer.send(topic, value)
    return caught.value


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port nobody listens on, and nobody can while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_closed_port(closed_port: int) -> None:
    async with Producer(f"127.0.0.1:{closed_port}", max_block=1.5) as producer:
        error = await failed_send(producer)
    assert isinstance(error, MetadataTimeoutError)
    assert not error.possibly_written
    assert any(isinstance(cause, ConnectionFailedError) for cause in causes(error))
    assert f"127.0.0.1:{closed_port}" in str(error)
    assert "refused" in str(error)
    assert "max_block" in str(error)


async def test_a_host_that_does_not_exist() -> None:
    async with Producer("broker.invalid:9092", max_block=1.5) as producer:
        error = await failed_send(producer)
    assert isinstance(error, MetadataTimeoutError)
    assert any(isinstance(cause, ConnectionFailedError) for cause in causes(error))
    assert "broker.invalid:9092" in str(error)


async def test_a_peer_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with Producer(address, max_block=2.0, connect_timeout=0.3) as producer:
            error = await failed_send(producer)
    assert isinstance(error, DeliveryTimeoutError)
    assert "handshake" in str(error)
    assert "connect_timeout" in str(error)


async def test_the_first_server_is_dead_the_second_serves(
    closed_port: int, kafka: KafkaCluster, kafka_topic: str
) -> None:
    async with Producer(f"127.0.0.1:{closed_port},{kafka.bootstrap}") as producer:
        assert (await producer.send(kafka_topic, b"v")).offset == 0


async def test_tls_against_a_plain_port(kafka: KafkaCluster) -> None:
    async with Producer(kafka.bootstrap, tls=True, max_block=2) as producer:
        error = await failed_send(producer)
    assert isinstance(error, DeliveryTimeoutError)
    assert "does not speak TLS" in str(error) or "may not speak TLS" in str(error)


async def test_a_missing_topic_that_nobody_creates() -> None:
    async with (
        KafkaCluster(auto_create_topics=False) as kafka,
        Producer(kafka.bootstrap, max_block=2) as producer,
    ):
        error = await failed_send(producer, "no-such-topic")
        assert isinstance(error, MetadataTimeoutError)
        assert any(isinstance(cause, UnknownTopicOrPartitionError) for cause in causes(error))
        assert "no-such-topic" in str(error)
        # The producer is none the worse for it.
        await kafka.create_topic("now-there", partitions=1)
        assert (await producer.send("now-there", b"v")).offset == 0


async def test_tls_and_a_certificate_nobody_vouches_for() -> None:
    async with KafkaCluster(tls=True) as kafka:
        async with Producer(kafka.tls_bootstrap, tls=True, max_block=2) as producer:
            error = await failed_send(producer)
        assert "certificate" in str(error)
        async with Producer(kafka.tls_bootstrap, max_block=2) as producer:
            error = await failed_send(producer)
        assert "TLS" in str(error)
        trusting = ssl.create_default_context(cafile=str(kafka.ca_pem))
        async with Producer(kafka.tls_bootstrap, tls=trusting) as producer:
            await producer.partitions_for("over-tls")
            result = await producer.send_many("over-tls", (b"%d" % n for n in range(20_000)))
            result.raise_for_errors()
        assert len(await kafka.read("over-tls")) == 20_000


async def test_records_that_cannot_be_sent(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with Producer(kafka.bootstrap, max_request_size=10_000) as producer:
        with pytest.raises(RecordTooLargeError, match="max_request_size is 10000 bytes"):
            await producer.send(kafka_topic, b"x" * 10_000)
        with pytest.raises(RecordValidationError, match="value is str"):
            await producer.send(kafka_topic, "text")  # type: ignore[arg-type]
        with pytest.raises(RecordValidationError, match=r"header.*'name'"):
            await producer.send(kafka_topic, b"v", headers=[("name", "text")])  # type: ignore[list-item]
        with pytest.raises(RecordValidationError, match="no partition 6"):
            await producer.send(kafka_topic, b"v", partition=6)
        with pytest.raises(RecordValidationError, match="partition"):
            await producer.send(kafka_topic, b"v", partition=-1)
        with pytest.raises(RecordValidationError, match="timestamp"):
            await producer.send(kafka_topic, b"v", timestamp=-1)
        with pytest.raises(RecordValidationError, match="topic"):
            await producer.send("no good", b"v")
        assert (await producer.send(kafka_topic, b"fine", partition=0)).offset == 0


async def test_the_cluster_goes_away_and_comes_back() -> None:
    async with KafkaCluster() as kafka:
        await kafka.create_topic("t", partitions=2)
        async with Producer(kafka.bootstrap, request_timeout=2) as producer:
            deliveries: list[Delivery] = [
                await producer.enqueue("t", b"%d" % n, partition=n % 2) for n in range(100)
            ]
            await producer.flush()
            await kafka.kill(1)
            deliveries += [await producer.enqueue("t", b"%d" % n, partition=n % 2) for n in range(100, 1000)]
            await kafka.restart(1)
            deliveries += [await producer.enqueue("t", b"%d" % n, partition=n % 2) for n in range(1000, 1100)]
            await producer.flush()
            offsets = [(await delivery).offset for delivery in deliveries]
        assert offsets == [n // 2 for n in range(1100)]
        for partition in (0, 1):
            records = await kafka.read("t", partition=partition)
            assert [record.value for record in records] == [
                b"%d" % n for n in range(1100) if n % 2 == partition
            ]


async def test_the_cluster_goes_away_for_good() -> None:
    async with KafkaCluster() as kafka:
        await kafka.create_topic("t", partitions=1)
        async with Producer(
            kafka.bootstrap, delivery_timeout=4, max_block=2, buffer_memory=100_000, batch_size=50_000
        ) as producer:
            await producer.send("t", b"v")
            await kafka.kill(1)
            with anyio.fail_after(60):
                delivery = await producer.enqueue("t", b"v" * 90_000)
                with pytest.raises(BufferTimeoutError, match=r"buffer_memory.*max_block 2 s"):
                    await producer.send("t", b"w" * 20_000)
                with pytest.raises(DeliveryTimeoutError, match=r"t-0 .*\b4 s") as caught:
                    await delivery
            assert not caught.value.possibly_written
            assert caught.value.__cause__ is not None
            with anyio.fail_after(60):
                await producer.close()


async def test_a_hung_broker_leaves_the_fate_open() -> None:
    async with KafkaCluster() as kafka:
        await kafka.create_topic("t", partitions=1)
        async with Producer(kafka.bootstrap, delivery_timeout=3.0, request_timeout=30) as producer:
            await producer.send("t", b"v")
            await kafka.pause(1)
            with anyio.fail_after(60), pytest.raises(DeliveryTimeoutError) as caught:
                await producer.send("t", b"written or not")
            assert caught.value.possibly_written
            await kafka.resume(1)
            metadata = await producer.send("t", b"after")
        values = [record.value for record in await kafka.read("t")]
        # Whichever of the two it was, nothing came twice and the order held.
        assert values in ([b"v", b"after"], [b"v", b"written or not", b"after"])
        assert metadata.offset == len(values) - 1

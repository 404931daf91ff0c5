"""What the fake cluster does to connections: reads slowly, tells old news, and answers with bytes that lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka import Producer
from krafka._wire.frames import decode_response, encode_request, response_correlation_id
from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from krafka.testing import FakeCluster

from .frames import exchange, receive_exactly, receive_frame

if TYPE_CHECKING:
    from anyio.abc import ByteStream

pytestmark = pytest.mark.anyio

REQUEST = MetadataRequest(topics=[MetadataRequestTopic(name="t")])
FRAME = b"".join(encode_request(REQUEST, 12, 7, "test"))


async def connect(cluster: FakeCluster, node_id: int = 1) -> ByteStream:
    return await cluster.connect(*cluster.addresses[node_id][:2])


async def receive_all(stream: ByteStream) -> bytes:
    """What comes until the connection ends or nothing has come for a while."""
    data = b""
    with anyio.move_on_after(5):
        try:
            while True:
                data += await stream.receive()
        except anyio.EndOfStream:
            return data
    raise AssertionError(f"the connection stays open after {data!r}")


async def leader(cluster: FakeCluster, node_id: int) -> tuple[int, list[int]]:
    """Who leads partition 0 of `t`, and which brokers there are, as a broker tells it."""
    stream = await connect(cluster, node_id)
    frame = await exchange(stream, REQUEST, 12)
    await stream.aclose()
    response = decode_response(MetadataResponse, 12, frame)
    (topic,) = response.topics
    if topic.error_code:
        return -topic.error_code, []
    return topic.partitions[0].leader_id, sorted(broker.node_id for broker in response.brokers)


# -- answers that lie --------------------------------------------------------------------------------------------------


async def answer_of(cluster: FakeCluster, **fault: Any) -> bytes:
    cluster.create_topic("t", 1)
    stream = await connect(cluster)
    await stream.send(FRAME)
    frame = await receive_frame(stream)
    assert response_correlation_id(frame) == 7
    whole = len(frame).to_bytes(4) + frame
    cluster.fail("Metadata", **fault)
    await stream.send(FRAME)
    spoilt = await (receive_all(stream) if "cut_at" in fault else receive_exactly(stream, len(whole)))
    assert spoilt != whole
    return spoilt


@pytest.mark.parametrize("correlation_id", [-1, 0, 8, 2**31 - 1])
async def test_an_answer_to_nothing_that_was_asked(correlation_id: int) -> None:
    async with FakeCluster() as cluster:
        frame = await answer_of(cluster, correlation_id=correlation_id)
        assert response_correlation_id(frame[4:]) == correlation_id


@pytest.mark.parametrize("size", [-1, -(2**31), 0, 3, 2**31 - 1])
async def test_an_answer_with_a_length_that_lies(size: int) -> None:
    async with FakeCluster() as cluster:
        frame = await answer_of(cluster, frame_size=size)
        assert int.from_bytes(frame[:4], signed=True) == size


@pytest.mark.parametrize("size", [0, 1, 3, 4, 9, 40])
async def test_part_of_an_answer(size: int) -> None:
    async with FakeCluster() as cluster:
        assert len(await answer_of(cluster, cut_at=size)) == size


async def test_part_of_an_answer_and_then_silence() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic("t", 1)
        stream = await connect(cluster)
        fault = cluster.fail("Metadata", cut_at=5, stall=True)
        await stream.send(FRAME)
        await fault.struck()
        await receive_exactly(stream, 5)
        with anyio.move_on_after(0.02) as silence:
            await stream.receive()
        assert silence.cancelled_caught


# -- slow readers ------------------------------------------------------------------------------------------------------


async def test_a_broker_that_stops_reading_makes_its_clients_wait() -> None:
    async with FakeCluster(capacity=3 * len(FRAME)) as cluster:
        stream = await connect(cluster)
        await cluster.until(lambda: cluster.brokers[1].connections == 1)
        # One request is read whole, and ten bytes of the next.
        cluster.stop_reading(1, after=len(FRAME) + 10)
        sent = anyio.Event()

        async def send() -> None:
            await stream.send(FRAME * 5)
            sent.set()

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(send)
            await receive_frame(stream)
            await anyio.wait_all_tasks_blocked()
            assert not sent.is_set()
            assert cluster.requests["Metadata"] == 1
            cluster.read_normally(1)
            for _ in range(4):
                await receive_frame(stream)
            await sent.wait()
        assert cluster.requests["Metadata"] == 5


async def test_a_read_that_waits_is_stopped_too() -> None:
    async with FakeCluster() as cluster:
        stream = await connect(cluster)
        await cluster.until(lambda: cluster.brokers[1].connections == 1)
        await anyio.wait_all_tasks_blocked()
        cluster.stop_reading()
        await stream.send(FRAME)
        await anyio.wait_all_tasks_blocked()
        assert cluster.requests["Metadata"] == 0
        assert cluster.brokers[1].unread_requests == 1
        cluster.read_normally()
        await receive_frame(stream)


async def test_a_slow_reader_takes_its_time() -> None:
    async with FakeCluster() as cluster:
        stream = await connect(cluster)
        cluster.read_slowly(1, chunk_size=len(FRAME) // 4 + 1, delay=0.01)
        started = anyio.current_time()
        await stream.send(FRAME)
        await receive_frame(stream)
        assert anyio.current_time() - started >= 0.04 - 0.002  # steps of uvloop's clock
        with pytest.raises(ValueError, match="at least 1 byte, got 0"):
            cluster.read_slowly(1, chunk_size=0)


async def test_a_producer_waits_for_a_slow_broker_and_loses_nothing() -> None:
    async with FakeCluster(capacity=1000) as cluster:
        cluster.create_topic("t", 1)
        async with Producer(
            cluster.bootstrap, connector=cluster.connector, buffer_memory=20_000, batch_size=2000
        ) as producer:
            await producer.send("t", b"first")
            cluster.stop_reading(after=1500)
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(producer.send_many, "t", [b"x" * 500 for _ in range(100)])
                await anyio.wait_all_tasks_blocked()
                waiting = len(cluster.log("t"))
                cluster.read_normally()
            assert len(cluster.log("t")) == 101
            assert waiting < 40


async def test_a_request_over_the_limit_ends_the_connection() -> None:
    async with FakeCluster(max_request_size=100) as cluster:
        stream = await connect(cluster)
        await stream.send((100).to_bytes(4))
        await stream.send(FRAME[4:])
        await anyio.wait_all_tasks_blocked()
        assert cluster.brokers[1].connections == 1
        await stream.aclose()
        stream = await connect(cluster)
        await stream.send((101).to_bytes(4))
        assert await receive_all(stream) == b""


# -- stale metadata ----------------------------------------------------------------------------------------------------


async def test_one_broker_tells_older_news_than_another() -> None:
    async with FakeCluster(3, replication=2) as cluster:
        cluster.create_topic("t", 1)
        cluster.freeze_metadata(3)
        cluster.move_leader("t", 0, to=2)
        assert await leader(cluster, 1) == (2, [1, 2, 3])
        assert await leader(cluster, 3) == (1, [1, 2, 3])
        cluster.stop_broker(1)
        assert await leader(cluster, 2) == (2, [2, 3])
        assert await leader(cluster, 3) == (1, [1, 2, 3])
        cluster.thaw_metadata(3)
        assert await leader(cluster, 3) == (2, [2, 3])


async def test_a_topic_is_new_to_one_broker_and_gone_for_another() -> None:
    unknown = -3
    async with FakeCluster(2, auto_create_topics=False) as cluster:
        cluster.freeze_metadata()
        cluster.create_topic("t", 1)
        cluster.thaw_metadata(1)
        assert (await leader(cluster, 1))[0] == 1
        assert (await leader(cluster, 2))[0] == unknown
        cluster.thaw_metadata()
        cluster.freeze_metadata(2)
        cluster.delete_topic("t")
        assert (await leader(cluster, 1))[0] == unknown
        assert (await leader(cluster, 2))[0] == 1


async def test_a_producer_finds_the_leader_though_a_broker_tells_the_old_one() -> None:
    async with FakeCluster(3, leader_hints=False) as cluster:
        cluster.create_topic("t", 1)
        async with Producer(
            cluster.bootstrap, connector=cluster.connector, retry_backoff=0.001, retry_backoff_max=0.01
        ) as producer:
            assert (await producer.send("t", b"v")).offset == 0
            cluster.freeze_metadata()
            cluster.move_leader("t", 0, to=2)
            asked = cluster.requests["Metadata"]
            with anyio.fail_after(20):
                async with anyio.create_task_group() as task_group:
                    task_group.start_soon(producer.send, "t", b"v")
                    await cluster.until(lambda: cluster.requests["Metadata"] >= asked + 3)
                    assert len(cluster.log("t")) == 1
                    cluster.thaw_metadata(1)
                for offset in range(2, 5):
                    assert (await producer.send("t", b"v")).offset == offset

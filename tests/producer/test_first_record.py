"""How long the first record of a fresh producer takes, in round trips to the brokers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.abc import ByteStream
from trio.testing import MockClock

from krafka import Producer
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

ROUND_TRIP = 1.0
TO_CONNECT = 2
"""Round trips until a connection can be used: TCP's, and ApiVersions."""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class _Way:
    """One direction: what goes in comes out, at the same intervals, half a round trip later."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._changed = anyio.Event()

    def put(self, data: bytes) -> None:
        self._under_way.append((anyio.current_time() + ROUND_TRIP / 2, data))
        self._changed.set()

    async def get(self) -> bytes:
        while not self._under_way:
            self._changed = anyio.Event()
            await self._changed.wait()
        arrives_at, data = self._under_way[0]
        await anyio.sleep_until(arrives_at)
        self._under_way.popleft()
        return data


class _FarStream(ByteStream):
    """A stream whose other end is half a round trip away; any number of writes may be under way."""

    def __init__(self, near: ByteStream, task_group: TaskGroup) -> None:
        self._stream = near
        self._there = _Way()
        self._back = _Way()
        task_group.start_soon(self._pass_on, self._there.get, self._stream.send)
        task_group.start_soon(self._pass_on, self._stream.receive, self._put_back)

    async def _put_back(self, data: bytes) -> None:
        self._back.put(data)

    @staticmethod
    async def _pass_on(get: Callable[[], Awaitable[bytes]], put: Callable[[bytes], Awaitable[Any]]) -> None:
        try:
            while True:
                await put(await get())
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def send(self, item: bytes) -> None:
        self._there.put(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._back.get()

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self._stream.aclose()


class FarCluster:
    """A `Connector` to a cluster a round trip away."""

    def __init__(self, cluster: FakeCluster, task_group: TaskGroup) -> None:
        self._cluster = cluster
        self._task_group = task_group

    async def connect(self, host: str, port: int) -> ByteStream:
        await anyio.sleep(ROUND_TRIP)
        return _FarStream(await self._cluster.connect(host, port), self._task_group)


async def round_trips(action: Callable[[], Awaitable[Any]]) -> float:
    began = anyio.current_time()
    await action()
    return (anyio.current_time() - began) / ROUND_TRIP


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # InitProducerId goes with Metadata: neither needs the other's answer.
        pytest.param({}, ["InitProducerId", "Metadata", "Produce"], id="idempotent"),
        pytest.param({"idempotent": False}, ["Metadata", "Produce"], id="not idempotent"),
    ],
)
async def test_of_a_fresh_producer(options: dict[str, Any], expected: list[str]) -> None:
    async with FakeCluster() as cluster, anyio.create_task_group() as task_group:
        cluster.create_topic("orders", partitions=3)
        far = FarCluster(cluster, task_group)
        async with Producer(cluster.bootstrap, connector=far, **options) as producer:
            assert await round_trips(lambda: producer.send("orders", b"first")) == TO_CONNECT + 2
            assert sorted(request.api for request in cluster.received) == ["ApiVersions", *expected]
            assert await round_trips(lambda: producer.send("orders", b"second")) == 1
        task_group.cancel_scope.cancel()


async def test_of_a_producer_that_was_opened_before() -> None:
    async with FakeCluster() as cluster, anyio.create_task_group() as task_group:
        cluster.create_topic("orders")
        cluster.create_topic("payments")
        far = FarCluster(cluster, task_group)
        async with Producer(cluster.bootstrap, connector=far, retry_backoff=5 * ROUND_TRIP) as producer:
            await anyio.sleep(10 * ROUND_TRIP)
            assert await round_trips(lambda: producer.send("orders", b"first")) == 2
            # A new topic does not wait for the pause that follows the request for another.
            assert await round_trips(lambda: producer.send("payments", b"first")) == 2
        task_group.cancel_scope.cancel()


async def test_where_another_broker_leads() -> None:
    async with FakeCluster(brokers=3) as cluster, anyio.create_task_group() as task_group:
        cluster.create_topic("orders")
        (bootstrap, *_) = cluster.bootstrap.split(",")
        cluster.move_leader("orders", 0, to=2)
        far = FarCluster(cluster, task_group)
        async with Producer(bootstrap, connector=far) as producer:
            trips = await round_trips(lambda: producer.send("orders", b"first"))
            assert trips == TO_CONNECT + 1 + TO_CONNECT + 1
            assert cluster.requests["Metadata"] == cluster.requests["InitProducerId"] == 1
        task_group.cancel_scope.cancel()

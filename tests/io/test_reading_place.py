"""On trio a task that waits for a record reads the connection itself, and is called away from it when it must be."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint

from krafka import Producer, errors
from krafka._io.tcp import TcpStream
from krafka._speedups.delivery import observe
from krafka._speedups.waiting import event_loop
from krafka.testing import FakeCluster
from tests.speedups.append_path import TOPIC, AppendPath

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from krafka._speedups.waiting import ReadingPlace

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["trio"])]

SOON = 5.0
whose: ContextVar[str] = ContextVar("whose", default="nobody's")


# -- the place, without a producer ----------------------------------------------------------------------------------


class Reader:
    """The reader of one end of a pair of sockets, which counts what arrives; `take` is called for each byte."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.due = True
        self.goes_on = True
        self.reads: list[str] = []
        self.take: Callable[[bytes], object] = lambda _: None
        self.loop = event_loop()
        place = self.loop.reading_place(self.near, self.read, lambda: self.due)
        assert place is not None
        self.place: ReadingPlace = place
        self.offers = 0

    def read(self) -> bool:
        self.reads.append(trio.lowlevel.current_task().name)
        self.take(self.near.recv(1))
        return self.goes_on

    async def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Return when the place is offered, and before that is over."""
        tasks.start_soon(self.run)
        await checkpoint()

    async def run(self) -> None:
        """Offer the place once."""
        await self.place.offer()
        self.offers += 1


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    reader.near.close()
    reader.far.close()


@pytest.fixture
def path(reader: Reader) -> AppendPath:
    path = AppendPath()
    path.appender.loop = reader.loop
    return path


async def waits_for(delivery: Any, ends: list[object]) -> None:
    try:
        ends.append((await delivery).offset)
    except errors.KafkaError as error:
        ends.append(error)


async def test_who_waits_has_the_place_and_the_reader_waits_for_it(reader: Reader, path: AppendPath) -> None:
    ends: list[object] = []
    delivery = path.append(TOPIC, b"v")
    reader.take = lambda _: path.finish(path.take_all()[0], 4)
    async with anyio.create_task_group() as tasks:
        await reader.begin(tasks)
        tasks.start_soon(waits_for, delivery, ends, name="caller")
        await anyio.wait_all_tasks_blocked()
        assert reader.offers == 0
        reader.far.send(b"!")
    assert ends == [4]
    assert reader.reads == ["caller"]
    assert reader.offers == 1


async def test_the_place_is_for_one_and_what_it_reads_is_for_all(reader: Reader, path: AppendPath) -> None:
    ends: list[object] = []
    deliveries = [path.append(TOPIC, b"v") for _ in range(3)]
    reader.take = lambda _: path.finish(path.take_all()[0], 0)
    async with anyio.create_task_group() as tasks:
        await reader.begin(tasks)
        for delivery in deliveries:
            tasks.start_soon(waits_for, delivery, ends)
        await anyio.wait_all_tasks_blocked()
        reader.far.send(b"!")
    assert sorted(ends) == [0, 1, 2]  # type: ignore[type-var]
    assert len(reader.reads) == 1


async def test_what_is_not_for_the_caller_leaves_it_in_its_place(reader: Reader, path: AppendPath) -> None:
    ends: list[object] = []
    delivery = path.append(TOPIC, b"v")
    async with anyio.create_task_group() as tasks:
        await reader.begin(tasks)
        tasks.start_soon(waits_for, delivery, ends)
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            reader.far.send(b"?")
        await anyio.wait_all_tasks_blocked()
        assert (len(reader.reads), ends, reader.offers) == (3, [], 0)
        reader.take = lambda _: path.finish(path.take_all()[0], 0)
        reader.far.send(b"!")
    assert ends == [0]


async def test_nobody_has_it_while_nothing_is_to_come(reader: Reader, path: AppendPath) -> None:
    reader.due = False
    ends: list[object] = []
    async with anyio.create_task_group() as tasks:
        await reader.begin(tasks)
        tasks.start_soon(waits_for, path.append(TOPIC, b"v"), ends)
        await anyio.wait_all_tasks_blocked()
        assert reader.offers == 1
        reader.far.send(b"!")
        await anyio.wait_all_tasks_blocked()
        assert reader.reads == []
        path.finish(path.take_all()[0])
    assert ends == [0]


async def test_it_is_offered_only_while_the_reader_is_not_there(reader: Reader, path: AppendPath) -> None:
    ends: list[object] = []
    await reader.run()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waits_for, path.append(TOPIC, b"v"), ends)
        await anyio.wait_all_tasks_blocked()
        reader.far.send(b"!")
        await anyio.wait_all_tasks_blocked()
        assert reader.reads == []
        path.finish(path.take_all()[0])
    assert ends == [0]


async def test_who_is_cancelled_there_gives_it_back(reader: Reader, path: AppendPath) -> None:
    delivery = path.append(TOPIC, b"v")
    async with anyio.create_task_group() as tasks:
        await reader.begin(tasks)
        with anyio.move_on_after(0.01) as scope:
            await delivery
        assert scope.cancelled_caught
        await anyio.wait_all_tasks_blocked()
        assert reader.offers == 1
    path.finish(path.take_all()[0], 1)
    assert (await delivery).offset == 1


async def test_an_outcome_from_elsewhere_calls_it_back(reader: Reader, path: AppendPath) -> None:
    ends: list[object] = []
    delivery = path.append(TOPIC, b"v")
    error = errors.DeliveryTimeoutError("too late")
    async with anyio.create_task_group() as tasks:
        await reader.begin(tasks)
        tasks.start_soon(waits_for, delivery, ends)
        await anyio.wait_all_tasks_blocked()
        path.take_all()[0].fail(error)
    assert isinstance(ends[0], errors.DeliveryTimeoutError)
    assert (reader.reads, reader.offers) == ([], 1)


async def test_only_the_reader_goes_on_after_its_read_failed(reader: Reader, path: AppendPath) -> None:
    ends: list[object] = []
    reader.goes_on = False
    async with anyio.create_task_group() as tasks:
        await reader.begin(tasks)
        tasks.start_soon(waits_for, path.append(TOPIC, b"v"), ends)
        await anyio.wait_all_tasks_blocked()
        reader.far.send(b"??")
        await anyio.wait_all_tasks_blocked()
        assert (len(reader.reads), reader.offers) == (1, 1)
        path.finish(path.take_all()[0])
    assert ends == [0]


async def test_a_reader_that_is_cancelled_offers_it_no_more(reader: Reader, path: AppendPath) -> None:
    ends: list[object] = []
    scope = anyio.CancelScope()

    async def offer() -> None:
        with scope:
            await reader.run()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(offer)
        await checkpoint()
        tasks.start_soon(waits_for, path.append(TOPIC, b"v"), ends)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        anyio.notify_closing(reader.near)
        await anyio.wait_all_tasks_blocked()
        reader.far.send(b"!")
        await anyio.wait_all_tasks_blocked()
        assert (reader.reads, ends) == ([], [])
        path.finish(path.take_all()[0])
    assert ends == [0]


# -- in a producer --------------------------------------------------------------------------------------------------


@contextmanager
def readers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Who reads from TCP streams meanwhile."""
    tasks: list[object] = []
    receive_now = TcpStream.receive_now

    def noted(stream: TcpStream, *arguments: Any) -> bytes:
        tasks.append(trio.lowlevel.current_task())
        return receive_now(stream, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TcpStream, "receive_now", noted)
        yield tasks


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with FakeCluster() as cluster:
        await cluster.listen()
        yield cluster


async def test_one_record_after_the_other_is_read_for_by_who_sends_them(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Producer(cluster.bootstrap) as producer:
        for _ in range(3):
            await producer.send("t", b"v")
        with readers(monkeypatch) as tasks:
            for _ in range(5):
                await producer.send("t", b"v")
        assert tasks == [trio.lowlevel.current_task()] * 5
        await anyio.wait_all_tasks_blocked()
        with readers(monkeypatch) as tasks:
            # Nobody waits for a record now.
            producer.enqueue_nowait("t", b"v")
            await producer.flush()
        assert len(tasks) == 1
        assert tasks != [trio.lowlevel.current_task()]


async def test_a_connection_that_ends_while_a_caller_reads_costs_no_record(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, retry_backoff=0.01) as producer:
        for number in range(10):
            await producer.send("t", b"%d" % number)
            if number % 3 == 2:
                cluster.fail("Produce", disconnect=True, after_append=number % 2 == 0)
    values = [record.value for record in cluster.log("t")]
    assert values == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize("fault", [{"correlation_id": 77}, {"frame_size": -5}, {"cut_at": 3}])
async def test_nonsense_that_a_caller_reads_ends_the_connection_not_the_caller(
    cluster: FakeCluster, fault: Any
) -> None:
    async with Producer(cluster.bootstrap, retry_backoff=0.01) as producer:
        for _ in range(3):
            await producer.send("t", b"v")
        struck = cluster.fail("Produce", **fault)
        with anyio.fail_after(SOON):
            assert (await producer.send("t", b"v")).offset == 3
        assert struck.hits == 1


async def test_a_caller_that_reads_is_told_when_its_time_is_up(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, request_timeout=0.2, delivery_timeout=0.3) as producer:
        for _ in range(3):
            await producer.send("t", b"v")
        cluster.pause_broker(next(iter(cluster.brokers)))
        with anyio.fail_after(SOON), pytest.raises(errors.DeliveryTimeoutError):
            await producer.send("t", b"v")
        cluster.resume_broker(next(iter(cluster.brokers)))


async def test_leaving_the_block_while_another_reads_ends(cluster: FakeCluster) -> None:
    ends: list[object] = []

    async def send(producer: Producer) -> None:
        try:
            while True:
                await producer.send("t", b"v")
        except errors.KafkaError as error:
            ends.append(error)

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks, Producer(cluster.bootstrap) as producer:
            tasks.start_soon(send, producer)
            await anyio.sleep(0.05)
    assert [type(error) for error in ends] == [errors.ProducerClosedError]


async def test_what_is_read_is_taken_in_the_context_of_the_producer(cluster: FakeCluster) -> None:
    seen: list[str] = []
    async with Producer(cluster.bootstrap) as producer:
        for _ in range(3):
            await producer.send("t", b"v")
        whose.set("the caller's")
        delivery = producer.enqueue_nowait("t", b"v")
        observe(delivery, lambda *_: seen.append(whose.get()))
        await producer.send("t", b"v")
    assert seen == ["nobody's"]

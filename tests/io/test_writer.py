"""`RequestWriter`: what a pipeline has queued reaches the stream in its order, whoever writes it and however slowly."""

from __future__ import annotations

import socket
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from krafka._io.tcp import TcpStream
from krafka._io.writer import RequestWriter
from krafka._state.framing import FrameReader
from krafka._state.pipeline import COALESCED_WRITE_BYTES, RequestPipeline
from krafka._wire.frames import encode_request, peek_request
from krafka._wire.produce import ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._wire.schema import Buffer

pytestmark = pytest.mark.anyio

VERSION = 9


def produce(size: int) -> ProduceRequest:
    partition = ProduceRequestPartitionData(index=0, records=b"r" * size)
    topic = ProduceRequestTopicData(name="orders", partition_data=[partition])
    return ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])


class Slow:
    """What both kinds of stream have in common here: they take `room` bytes, then stall, or fail with `error`."""

    def __init__(self, room: float = float("inf")) -> None:
        self.room = room
        self.error: Exception | None = None
        self.writes: list[bytes] = []
        """What each call took."""
        self._more = anyio.Event()

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def give(self, room: float) -> None:
        self.room += room
        self._more.set()

    def break_with(self, error: Exception) -> None:
        self.error = error
        self._more.set()

    def take(self, data: bytes) -> bytes:
        """Take what there is room for; gives what is left."""
        if self.error is not None:
            raise self.error
        taken = data[: int(min(self.room, len(data)))]
        self.room -= len(taken)
        if taken:
            self.writes.append(taken)
        return data[len(taken) :]

    async def take_all(self, data: bytes) -> None:
        while data := self.take(data):
            self._more = anyio.Event()
            await self._more.wait()


class SlowTcp(TcpStream, Slow):
    """Parts are taken without waiting as far as there is room."""

    def __init__(self, room: float = float("inf")) -> None:
        Slow.__init__(self, room)

    def send_now(self, parts: list[Buffer], size: int = -1) -> list[Buffer]:
        left = self.take(b"".join(parts))
        return [left] if left else []

    async def send_parts(self, parts: list[Buffer]) -> None:
        await self.take_all(b"".join(parts))


class SlowOther(ByteStream, Slow):
    """A stream, such as one under TLS, that only takes whole buffers, and as long as it likes."""

    def __init__(self, room: float = float("inf")) -> None:
        Slow.__init__(self, room)

    async def send(self, item: bytes) -> None:
        await self.take_all(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise NotImplementedError

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


class Writing:
    """A writer over a stream, and what it tells."""

    def __init__(self, stream: ByteStream) -> None:
        self.pipeline = RequestPipeline("krafka", "broker")
        self.told: list[tuple[int, int]] = []
        self.broken: list[Exception] = []
        self.expected = b""
        self.on_wrote: Callable[[], object] = lambda: None
        self.confirmed: list[Any] = []
        self._next_id = 0
        self.writer = RequestWriter(stream, self.pipeline, wrote=self._wrote, broke=self.broken.append)

    def _wrote(self, requests: int, size: int) -> None:
        self.told.append((requests, size))
        while (pending := self.pipeline.pop_unconfirmed()) is not None:
            pending.on_outcome(None, 0.0)
        self.on_wrote()

    def queue(
        self, size: int = 100, *, then: Callable[[], object] = lambda: None, expects_response: bool = True
    ) -> int:
        """Queue a request; gives the bytes of its frame."""
        request = produce(size)
        number = self._next_id

        def on_outcome(outcome: Any, now: float) -> None:
            self.confirmed.append(number)
            then()

        self.pipeline.queue(
            request, VERSION, on_outcome, expects_response=expects_response, timeout=30, deadline=30
        )
        frame = b"".join(encode_request(request, VERSION, self._next_id, "krafka"))
        self._next_id += 1
        self.expected += frame
        return len(frame)


@pytest.fixture(params=[SlowTcp, SlowOther])
def any_stream(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestPush:
    def test_what_is_queued_goes_out_at_once_and_together(self) -> None:
        stream = SlowTcp()
        writing = Writing(stream)
        sizes = [writing.queue(size) for size in (10, 5000, 1)]
        writing.writer.push()
        assert stream.writes == [writing.expected]
        assert writing.told == [(3, sum(sizes))]

    def test_nothing_queued_is_nothing_written(self) -> None:
        stream = SlowTcp()
        writing = Writing(stream)
        writing.writer.push()
        assert (stream.writes, writing.told) == ([], [])

    def test_each_chunk_is_told_once(self) -> None:
        stream = SlowTcp()
        writing = Writing(stream)
        (size,) = {writing.queue(COALESCED_WRITE_BYTES // 2) for _ in range(5)}
        writing.writer.push()
        assert writing.told == [(2, 2 * size), (2, 2 * size), (1, size)]
        assert [len(write) for write in stream.writes] == [2 * size, 2 * size, size]
        assert stream.written == writing.expected

    def test_after_an_error_nothing_is_written(self) -> None:
        stream = SlowTcp()
        writing = Writing(stream)
        writing.queue()
        error = anyio.BrokenResourceError()
        stream.error = error
        writing.writer.push()
        assert writing.broken == [error]
        stream.error = None
        writing.queue()
        writing.writer.push()
        assert writing.broken == [error]
        assert (stream.writes, writing.told) == ([], [])

    @pytest.mark.parametrize(
        "error",
        [anyio.BrokenResourceError(), anyio.ClosedResourceError(), anyio.BusyResourceError("x"), OSError(32)],
        ids=lambda error: type(error).__name__,
    )
    async def test_every_end_of_a_stream_is_an_error_of_the_connection(
        self, error: Exception, any_stream: Any
    ) -> None:
        stream = any_stream()
        stream.error = error
        writing = Writing(stream)
        writing.queue()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writing.writer.run)
            writing.writer.push()
            await anyio.wait_all_tasks_blocked()
            assert writing.broken == [error]
            tasks.cancel_scope.cancel()


class TestWhileTheStreamIsBusy:
    async def test_the_rest_is_written_by_the_task_and_what_came_meanwhile_after_it(
        self, any_stream: Any
    ) -> None:
        stream = any_stream(room=7)
        writing = Writing(stream)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writing.writer.run)
            first = writing.queue(1000)
            writing.writer.push()
            await anyio.wait_all_tasks_blocked()
            assert stream.written == writing.expected[:7]
            sizes = []
            for size in (10, 20, 30):
                sizes.append(writing.queue(size))
                writing.writer.push()
            assert stream.written == writing.expected[:7]
            assert writing.told == []

            stream.give(first - 7)
            await anyio.wait_all_tasks_blocked()
            assert stream.written == writing.expected[:first]
            assert writing.told == [(1, first)]

            stream.give(float("inf"))
            await anyio.wait_all_tasks_blocked()
            assert stream.written == writing.expected
            assert stream.writes[-1] == writing.expected[first:]
            assert writing.told == [(1, first), (3, sum(sizes))]

            last = writing.queue()
            writing.writer.push()
            await anyio.wait_all_tasks_blocked()
            assert stream.written == writing.expected
            assert writing.told[2:] == [(1, last)]
            tasks.cancel_scope.cancel()

    async def test_after_an_error_nothing_is_written(self, any_stream: Any) -> None:
        stream = any_stream(room=7)
        writing = Writing(stream)
        error = anyio.BrokenResourceError()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(writing.writer.run)
                writing.queue()
                writing.writer.push()
                await anyio.wait_all_tasks_blocked()
                writing.queue()
                stream.break_with(error)
        assert writing.broken == [error]
        stream.error = None
        stream.give(float("inf"))
        writing.queue()
        writing.writer.push()
        assert writing.broken == [error]
        assert stream.written == writing.expected[:7]
        assert writing.told == []

    async def test_cancelled_it_writes_no_more(self, any_stream: Any) -> None:
        stream = any_stream(room=7)
        writing = Writing(stream)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writing.writer.run)
            writing.queue()
            writing.writer.push()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        stream.give(float("inf"))
        writing.queue()
        writing.writer.push()
        assert stream.written == writing.expected[:7]


class TestFromInside:
    """Unacknowledged requests are confirmed as soon as they are written, and who is told may send the next."""

    @pytest.mark.parametrize("times", [1, 3, 2000])
    async def test_what_a_confirmation_sends_follows(self, times: int, any_stream: Any) -> None:
        stream = any_stream()
        writing = Writing(stream)
        left = times

        def send_another() -> None:
            nonlocal left
            if left:
                left -= 1
                writing.queue(1, then=send_another, expects_response=False)
                writing.writer.push()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writing.writer.run)
            send_another()
            with anyio.fail_after(60):
                while left or len(writing.confirmed) < times:
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert writing.confirmed == list(range(times))
        assert stream.written == writing.expected
        assert writing.told == [(1, len(write)) for write in stream.writes]

    async def test_several_sent_by_confirmations_of_one_chunk_share_the_next(self, any_stream: Any) -> None:
        stream = any_stream()
        writing = Writing(stream)

        def send_another() -> None:
            writing.queue(1)
            writing.writer.push()

        sizes = [writing.queue(1, then=send_another, expects_response=False) for _ in range(4)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writing.writer.run)
            writing.writer.push()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert writing.told == [(4, sum(sizes)), (4, sum(sizes))]
        assert stream.writes == [writing.expected[: sum(sizes)], writing.expected[sum(sizes) :]]

    async def test_a_confirmation_of_what_the_task_wrote_may_send_more_than_fits(
        self, any_stream: Any
    ) -> None:
        stream = any_stream(room=7)
        writing = Writing(stream)

        def send_another() -> None:
            writing.queue(1000)
            writing.writer.push()

        first = writing.queue(1, then=send_another, expects_response=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writing.writer.run)
            writing.writer.push()
            await anyio.wait_all_tasks_blocked()
            stream.give(first - 7 + 5)
            await anyio.wait_all_tasks_blocked()
            assert stream.written == writing.expected[: first + 5]
            stream.give(float("inf"))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert stream.written == writing.expected
        assert [requests for requests, _ in writing.told] == [1, 1]


@pytest.mark.parametrize("seed", range(3))
async def test_over_a_socket_with_small_buffers_frames_arrive_in_order(seed: int) -> None:
    random = Random(seed)
    total = 300
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    client.setblocking(False)
    server.setblocking(False)
    correlation_ids: list[int] = []

    async def read() -> None:
        frames = FrameReader(2**31 - 1, "client")
        while len(correlation_ids) < total:
            await anyio.wait_readable(server)
            correlation_ids.extend(peek_request(frame)[2] for frame in frames.feed(server.recv(4000)))
            for _ in range(random.choice((0, 0, 0, 20))):
                await anyio.lowlevel.checkpoint()

    async with TcpStream(client) as stream:
        assert stream.extra(SocketAttribute.raw_socket) is client
        writing = Writing(stream)
        with server, anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(writing.writer.run)
                async with anyio.create_task_group() as reading:
                    reading.start_soon(read)
                    for _ in range(total):
                        writing.queue(random.choice((1, 100, 3000, 30_000)))
                        writing.writer.push()
                        if random.random() < 0.3:
                            await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        assert correlation_ids == list(range(total))
        assert sum(requests for requests, _ in writing.told) == total
        assert sum(size for _, size in writing.told) == len(writing.expected)
        assert writing.broken == []

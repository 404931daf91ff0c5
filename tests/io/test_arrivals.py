"""`TcpStream.pump`: what arrives is handed over, and every end is told, as `receive` does it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint, current_token

from krafka._io.tcp import READ_SIZE, TcpStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[TcpStream, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    with near, far:
        async with TcpStream(near) as stream:
            yield stream, far


def has_callbacks() -> bool:
    return hasattr(current_token().native_token, "add_reader")


async def read_all(stream: TcpStream, take: Callable[[bytes], object]) -> None:
    """As a connection does it, on any event loop."""
    await stream.pump(take)
    assert not has_callbacks()
    while True:
        take(await stream.receive())


def assert_unregistered(stream: TcpStream) -> None:
    if has_callbacks():
        loop: Any = current_token().native_token
        # uvloop does not tell.
        assert not loop.remove_reader(stream.extra(anyio.abc.SocketAttribute.raw_socket))


async def test_everything_arrives_in_order_and_then_the_end() -> None:
    sent = bytes(range(256)) * (MIB // 256)
    received = bytearray()
    sizes: set[int] = set()

    def take(data: bytes) -> None:
        sizes.add(len(data))
        received.extend(data)

    async with connected() as (stream, peer):

        async def send() -> None:
            await anyio.to_thread.run_sync(peer.sendall, sent)
            peer.close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            with anyio.fail_after(60), pytest.raises(anyio.EndOfStream):
                await read_all(stream, take)
        assert received == sent
        assert max(sizes) <= READ_SIZE
        assert_unregistered(stream)


@pytest.mark.parametrize("kind", [ValueError, OSError, BlockingIOError, KeyboardInterrupt])
async def test_what_the_taker_raises_is_the_end(kind: type[BaseException]) -> None:
    taken: list[bytes] = []

    def take(data: bytes) -> None:
        taken.append(data)
        raise kind("enough")

    async with connected() as (stream, peer):
        peer.send(b"a")
        with anyio.fail_after(60), pytest.raises(kind, match="enough"):
            await read_all(stream, take)
        peer.send(b"b")
        for _ in range(3):
            await checkpoint()
        assert taken == [b"a"]
        assert_unregistered(stream)
        assert await stream.receive() == b"b"


async def test_a_reset_is_a_broken_stream_and_says_why() -> None:
    async with connected() as (stream, peer), anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await read_all(stream, bytes)
            assert isinstance(caught.value.__cause__, ConnectionResetError)
            assert_unregistered(stream)

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()


async def test_closing_the_stream_ends_it() -> None:
    async with connected() as (stream, _), anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await read_all(stream, bytes)

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await stream.aclose()


async def test_cancelling_it_leaves_what_arrives_later_to_others() -> None:
    taken: list[bytes] = []
    async with connected() as (stream, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_all, stream, taken.append)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert_unregistered(stream)
        peer.send(b"later")
        assert await stream.receive() == b"later"
        assert taken == []


async def test_it_comes_before_any_task_that_was_to_run_then() -> None:
    """A task that is woken by what arrived needs no second turn of the event loop, where a callback takes it."""
    arrived = anyio.Event()
    turns = 0
    async with connected() as (stream, peer), anyio.create_task_group() as tasks:

        async def count() -> None:
            nonlocal turns
            while not arrived.is_set():
                turns += 1
                await checkpoint()

        async def read() -> None:
            await read_all(stream, lambda _: arrived.set())

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        peer.send(b"x")
        tasks.start_soon(count)
        await arrived.wait()
        assert turns <= (1 if has_callbacks() else 4)
        tasks.cancel_scope.cancel()


def test_whoever_takes_it_can_ask_anyio_for_its_event_loop() -> None:
    """sniffio knows asyncio by its current task, and a callback has none; `asyncio.run` tells it nothing."""

    async def main() -> float:
        times: list[float] = []
        async with connected() as (stream, peer):
            peer.send(b"x")
            peer.close()
            with pytest.raises(anyio.EndOfStream):
                await stream.pump(lambda _: times.append(anyio.current_time()))
        return times[0]

    assert asyncio.run(main()) > 0


def test_a_loop_without_readers_leaves_it_to_receive(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's proactor has the method, which raises."""

    async def main() -> None:
        async with connected() as (stream, peer):

            def add_reader(*_: object) -> None:
                raise NotImplementedError

            with monkeypatch.context() as patch:
                patch.setattr(asyncio.get_running_loop(), "add_reader", add_reader)
                await stream.pump(bytes)
            peer.send(b"x")
            assert await stream.receive() == b"x"

    asyncio.run(main())

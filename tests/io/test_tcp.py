"""`TcpStream` on loopback sockets: what goes in comes out, in order and whole, and every end is told as what it is."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

from krafka._io.tcp import TcpStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from anyio.abc import ByteStream

    from krafka._wire.schema import Buffer

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
MORE_THAN_IOV_MAX = 2500


class Dribbling(socket.socket):
    """A socket that takes as many bytes a call as it is told to, or raises what it is told to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.takes: Iterator[int | type[OSError]] = itertools.repeat(1 << 30)
        self.most_parts = 0

    def sendmsg(self, buffers: Any, *args: Any) -> int:
        parts = list(buffers)
        self.most_parts = max(self.most_parts, len(parts))
        takes = next(self.takes)
        if isinstance(takes, type):
            raise takes
        return super().send(b"".join(parts)[:takes])


def connected_sockets(*, small: bool = False, host: str = "127.0.0.1") -> tuple[Dribbling, socket.socket]:
    """Two ends of a TCP connection; with `small` buffers a write of some kilobytes fills them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        client = Dribbling(family)
        if small:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    client.setblocking(False)
    server.setblocking(False)
    return client, server


@contextlib.asynccontextmanager
async def connected(*, small: bool = False) -> AsyncIterator[tuple[TcpStream, socket.socket]]:
    """A stream over a `Dribbling` socket, and the socket at its other end; both are closed on leaving."""
    client, server = connected_sockets(small=small)
    with client, server:
        async with TcpStream(client) as stream:
            yield stream, server


def socket_of(stream: TcpStream) -> Dribbling:
    raw = stream.extra(SocketAttribute.raw_socket)
    assert isinstance(raw, Dribbling)
    return raw


async def read(peer: socket.socket, size: int) -> bytes:
    """So many bytes from a peer's socket."""
    received = bytearray()
    with anyio.fail_after(60):
        while len(received) < size:
            await anyio.wait_readable(peer)
            data = peer.recv(1 << 16)
            assert data, f"the stream ended after {len(received)} of {size} bytes"
            received += data
    return bytes(received)


async def fill(stream: TcpStream) -> None:
    """Write until nothing more is taken at once."""
    while not stream.send_now([bytes(1 << 16)]):
        pass


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def random_parts(random: Random) -> list[bytes | bytearray | memoryview]:
    kinds: list[Callable[[bytes], Any]] = [bytes, bytearray, memoryview]
    sizes = [random.choice((0, 1, random.randrange(100), random.randrange(20_000))) for _ in range(60)]
    return [random.choice(kinds)(random.randbytes(size)) for size in sizes]


PARTS = {
    "one": [b"whole"],
    "none": [],
    "empty ones only": [b"", b"", b""],
    "empty ones between": [b"", b"a", b"", b"", b"bc", b""],
    "more than one call takes": [bytes([number % 251]) * (number % 3) for number in range(MORE_THAN_IOV_MAX)],
    "more empty ones than one call takes": [b""] * MORE_THAN_IOV_MAX + [b"end"],
    "larger than any buffer": [Random(1).randbytes(8 * MIB), b"-", Random(2).randbytes(3 * MIB)],
    "of all kinds": random_parts(Random(3)),
}


class TestSending:
    @pytest.mark.parametrize("small", [False, True], ids=["large buffers", "small buffers"])
    @pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
    async def test_parts_arrive_in_order_and_whole(self, parts: list[Any], small: bool) -> None:
        whole = b"".join(parts)
        async with connected(small=small) as (stream, peer), anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send_parts, parts)
            # Whoever reads is late, so that what the system's buffers hold is not enough.
            await anyio.wait_all_tasks_blocked()
            assert await read(peer, len(whole)) == whole

    @pytest.mark.parametrize("seed", range(5))
    async def test_each_call_may_take_any_part_of_it(self, seed: int) -> None:
        random = Random(seed)
        parts = random_parts(random)
        whole = b"".join(parts)
        async with connected() as (stream, peer), anyio.create_task_group() as tasks:
            socket_of(stream).takes = (
                random.choice((1, random.randrange(1, 5000), BlockingIOError, InterruptedError))
                for _ in itertools.count()
            )
            tasks.start_soon(stream.send_parts, parts)
            assert await read(peer, len(whole)) == whole

    async def test_a_call_gets_no_more_parts_than_systems_take(self) -> None:
        async with connected() as (stream, peer):
            await stream.send_parts([b"x"] * MORE_THAN_IOV_MAX)
            assert await read(peer, MORE_THAN_IOV_MAX) == b"x" * MORE_THAN_IOV_MAX
            # IOV_MAX is 1024 on Linux, macOS and the BSDs.
            assert socket_of(stream).most_parts <= 1024

    async def test_what_is_left_is_what_was_not_taken(self) -> None:
        parts: list[Buffer] = [b"abc", bytearray(b"defg"), memoryview(b"hij")]
        for taken in range(11):
            async with connected() as (stream, peer):
                socket_of(stream).takes = iter([taken])
                left = stream.send_now([*parts])
                assert b"".join(left) == b"abcdefghij"[taken:]
                if taken:
                    assert await read(peer, taken) == b"abcdefghij"[:taken]

    async def test_what_was_not_touched_is_left_as_it_was(self) -> None:
        large = bytes(MIB)
        async with connected() as (stream, _):
            socket_of(stream).takes = iter([2, BlockingIOError, InterruptedError])
            left = stream.send_now([b"ab", large])
            assert [id(part) for part in left] == [id(large)]
            for _ in range(2):
                assert [id(part) for part in stream.send_now(left)] == [id(large)]

    async def test_a_full_buffer_leaves_the_rest_and_waits_for_nobody(self) -> None:
        async with connected(small=True) as (stream, peer):
            payload = Random(4).randbytes(MIB)
            left = stream.send_now([payload])
            taken = len(payload) - sum(len(part) for part in left)
            assert 0 < taken < len(payload)
            assert await read(peer, taken) == payload[:taken]

    async def test_sending_and_receiving_do_not_wait_for_each_other(self) -> None:
        payload = Random(5).randbytes(2 * MIB)
        async with connected(small=True) as (stream, peer), anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send, payload)
            await anyio.wait_all_tasks_blocked()
            peer.send(b"in between")
            assert await stream.receive() == b"in between"
            assert await read(peer, len(payload)) == payload

    async def test_a_cancelled_send_was_never_begun(self) -> None:
        async with connected() as (stream, peer):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await stream.send(b"cancelled")
            assert scope.cancelled_caught
            await stream.send(b"sent")
            assert await read(peer, 4) == b"sent"

    async def test_no_more_to_come(self) -> None:
        async with connected() as (stream, peer):
            await stream.send(b"last")
            await stream.send_eof()
            assert await read(peer, 4) == b"last"
            await anyio.wait_readable(peer)
            assert peer.recv(1) == b""
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send(b"more")
            peer.send(b"answer")
            assert await stream.receive() == b"answer"


class TestReceiving:
    async def test_data_comes_as_it_arrives_and_no_more_than_was_asked_for(self) -> None:
        async with connected() as (stream, peer):
            peer.send(b"abcdef")
            assert await stream.receive(4) == b"abcd"
            assert await stream.receive(4) == b"ef"

    async def test_the_end(self) -> None:
        async with connected() as (stream, peer):
            peer.send(b"last")
            peer.close()
            assert await stream.receive() == b"last"
            for _ in range(2):
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()

    async def test_a_reset(self) -> None:
        async with connected() as (stream, peer):
            reset(peer)
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await stream.receive()
            assert isinstance(caught.value.__cause__, ConnectionResetError)

    async def test_a_reset_while_waiting(self) -> None:
        async with connected() as (stream, peer), anyio.create_task_group() as tasks:

            async def receive() -> None:
                with pytest.raises(anyio.BrokenResourceError):
                    await stream.receive()

            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            reset(peer)

    async def test_two_receivers_are_one_too_many(self) -> None:
        async with connected() as (stream, peer):
            received: list[bytes] = []

            async def receive() -> None:
                received.append(await stream.receive())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(anyio.BusyResourceError):
                    await stream.receive()
                peer.send(b"for the first")
            assert received == [b"for the first"]

    @pytest.mark.parametrize("cancelled_first", [False, True], ids=["data first", "cancelled first"])
    async def test_cancelling_a_receive_loses_no_byte(self, cancelled_first: bool) -> None:
        async with connected() as (stream, peer):
            received: list[bytes] = []
            sent = b""
            for number in range(50):
                async with anyio.create_task_group() as tasks:
                    scope = anyio.CancelScope()

                    async def receive(scope: anyio.CancelScope = scope) -> None:
                        with scope:
                            received.append(await stream.receive())

                    tasks.start_soon(receive)
                    await anyio.wait_all_tasks_blocked()
                    sent += (data := b"%d;" % number)
                    if cancelled_first:
                        scope.cancel()
                    peer.send(data)
                    if number % 2:
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
            peer.close()
            with contextlib.suppress(anyio.EndOfStream):
                while True:
                    received.append(await stream.receive())
            assert b"".join(received) == sent


class TestClosing:
    async def test_the_peer_sees_the_end_and_the_socket_is_gone(self) -> None:
        async with connected() as (stream, peer):
            raw = stream.extra(SocketAttribute.raw_socket)
            await stream.aclose()
            assert raw.fileno() == -1
            await anyio.wait_readable(peer)
            assert peer.recv(1) == b""
            await stream.aclose()

    async def test_a_closed_stream_says_so(self) -> None:
        async with connected() as (stream, _):
            await stream.aclose()
            calls: list[Callable[[], Any]] = [
                stream.receive,
                lambda: stream.send(b"x"),
                lambda: stream.send_parts([b"x", b"y"]),
                stream.send_eof,
            ]
            for call in calls:
                with pytest.raises(anyio.ClosedResourceError):
                    await call()
            with pytest.raises(anyio.ClosedResourceError):
                stream.send_now([b"x"])

    async def test_closing_ends_whoever_waits_to_receive(self) -> None:
        async with connected() as (stream, _):
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:

                    async def receive() -> None:
                        with pytest.raises(anyio.ClosedResourceError):
                            await stream.receive()

                    tasks.start_soon(receive)
                    await anyio.wait_all_tasks_blocked()
                    await stream.aclose()

    async def test_closing_ends_whoever_waits_to_send(self) -> None:
        async with connected(small=True) as (stream, _):
            await fill(stream)
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:

                    async def send() -> None:
                        with pytest.raises(anyio.ClosedResourceError):
                            await stream.send(bytes(MIB))

                    tasks.start_soon(send)
                    await anyio.wait_all_tasks_blocked()
                    await stream.aclose()

    async def test_closing_when_cancelled_closes(self) -> None:
        async with connected() as (stream, _):
            raw = stream.extra(SocketAttribute.raw_socket)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await stream.aclose()
            assert scope.cancelled_caught
            assert raw.fileno() == -1

    async def test_a_peer_that_is_gone_breaks_what_is_sent(self) -> None:
        async with connected(small=True) as (stream, peer):
            await fill(stream)
            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:

                    async def send() -> None:
                        with pytest.raises(anyio.BrokenResourceError) as caught:
                            await stream.send(bytes(MIB))
                        assert isinstance(caught.value.__cause__, OSError)

                    tasks.start_soon(send)
                    await anyio.wait_all_tasks_blocked()
                    reset(peer)
            with pytest.raises(anyio.BrokenResourceError):
                stream.send_now([b"x"])
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send_eof()


class TestAttributes:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_addresses(self, host: str) -> None:
        client, server = connected_sockets(host=host)
        with client, server:
            async with TcpStream(client) as stream:
                assert stream.extra(SocketAttribute.raw_socket) is client
                assert stream.extra(SocketAttribute.family) == client.family
                assert stream.extra(SocketAttribute.local_address) == server.getpeername()
                assert stream.extra(SocketAttribute.remote_address) == server.getsockname()
                assert stream.extra(SocketAttribute.local_port) == server.getpeername()[1]
                assert stream.extra(SocketAttribute.remote_port) == server.getsockname()[1]


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return client, server


@contextlib.asynccontextmanager
async def tls_connected(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], *, small: bool
) -> AsyncIterator[tuple[TLSStream, TLSStream]]:
    client, server = connected_sockets(small=small)
    wrapped: dict[bool, TLSStream] = {}

    async def wrap(raw: socket.socket, server_side: bool) -> None:
        wrapped[server_side] = await TLSStream.wrap(
            TcpStream(raw),
            server_side=server_side,
            hostname=None if server_side else "localhost",
            ssl_context=contexts[server_side],
            standard_compatible=False,
        )

    with client, server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wrap, client, False)
            tasks.start_soon(wrap, server, True)
        async with wrapped[False], wrapped[True]:
            yield wrapped[False], wrapped[True]


class TestUnderTls:
    @pytest.mark.parametrize("small", [False, True], ids=["large buffers", "small buffers"])
    async def test_megabytes_both_ways_at_once(
        self, contexts: tuple[ssl.SSLContext, ssl.SSLContext], small: bool
    ) -> None:
        size = (MIB if small else 4 * MIB) + 17
        async with tls_connected(contexts, small=small) as ends, anyio.create_task_group() as tasks:

            async def send(stream: ByteStream, payload: bytes) -> None:
                rest = memoryview(payload)
                while rest:
                    await stream.send(rest[:100_000])  # type: ignore[arg-type]
                    rest = rest[100_000:]

            async def receive(stream: ByteStream, payload: bytes) -> None:
                received = bytearray()
                while len(received) < len(payload):
                    received += await stream.receive()
                assert received == payload

            for number, (one, other) in enumerate((ends, ends[::-1])):
                payload = Random(number).randbytes(size)
                tasks.start_soon(receive, other, payload)
                tasks.start_soon(send, one, payload)

    async def test_the_end_without_a_farewell(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        async with tls_connected(contexts, small=False) as (client, server):
            await server.send(b"last")
            await server.aclose()
            assert await client.receive() == b"last"
            with pytest.raises(anyio.EndOfStream):
                await client.receive()

    async def test_attributes_are_those_of_the_socket(
        self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> None:
        async with tls_connected(contexts, small=False) as (client, server):
            assert client.extra(SocketAttribute.remote_port) == server.extra(SocketAttribute.local_port)


async def test_a_reader_that_is_called_back_from_the_socket_leaves_who_writes_there() -> None:
    async with connected(small=True) as (stream, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(stream.send, bytes(MIB))
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            anyio.notify_closing(stream.raw_socket)
        assert len(await read(peer, MIB)) == MIB

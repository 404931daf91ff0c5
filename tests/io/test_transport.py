"""TCP and TLS on loopback: what works, and that every failure says which step failed and why."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

from krafka._io import transport
from krafka._io.transport import TcpConnector, close_stream, format_address
from krafka.errors import AuthenticationError, ConnectionFailedError

pytestmark = pytest.mark.anyio

Handler = Callable[[ByteStream], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str, **options: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)  # type: ignore[arg-type]
    return context


def client_context(authority: trustme.CA | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return context


async def echo_once(stream: ByteStream) -> None:
    async with stream:
        await stream.send(await stream.receive())


@contextlib.asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A listener on loopback; gives its port."""
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port: int = tcp.extra(SocketAttribute.local_port)

    async def handle(stream: ByteStream) -> None:
        # The client under test may go away at any point; what matters is what the client says of it.
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError):
            await handler(stream)

    listener = tcp if tls is None else TLSListener(tcp, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as task_group:
        task_group.start_soon(listener.serve, handle)
        yield port
        task_group.cancel_scope.cancel()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def echo(stream: ByteStream, data: bytes = b"ping") -> bytes:
    try:
        await stream.send(data)
        return await stream.receive()
    finally:
        await close_stream(stream)


async def test_tcp_options() -> None:
    async with serving(echo_once) as port:
        connector = TcpConnector(send_buffer_bytes=20_000, receive_buffer_bytes=20_000)
        stream = await connector.connect("127.0.0.1", port)
        raw = stream.extra(SocketAttribute.raw_socket)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        # Linux reports twice what was asked.
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (20_000, 40_000)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in (20_000, 40_000)
        assert await echo(stream) == b"ping"


async def test_a_name_is_resolved() -> None:
    async with serving(echo_once) as port:
        stream = await TcpConnector().connect("localhost", port)
        assert await echo(stream) == b"ping"


async def test_refused() -> None:
    port = free_port()
    with pytest.raises(ConnectionFailedError, match=rf"TCP connect to 127\.0\.0\.1:{port} failed") as caught:
        await TcpConnector().connect("127.0.0.1", port)
    assert "connection refused: nothing listens there" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.is_retriable


async def test_every_address_that_was_tried_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [
        ConnectionRefusedError(111, "Connect call failed ('::1', 9092, 0, 0)"),
        OSError(101, "Network is unreachable ('10.0.0.1', 9092)"),
    ]

    async def all_fail(*args: object) -> socket.socket:
        raise OSError("All connection attempts failed") from ExceptionGroup("attempts", refused)

    monkeypatch.setattr(transport, "dial", all_fail)
    with pytest.raises(ConnectionFailedError) as caught:
        await TcpConnector().connect("kafka", 9092)
    text = str(caught.value)
    assert "::1" in text
    assert "nothing listens there" in text
    assert "10.0.0.1" in text
    assert "no route" in text


async def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(
        ConnectionFailedError, match=r"host name of kafka\.invalid:9092 does not resolve"
    ) as caught:
        await TcpConnector().connect("kafka.invalid", 9092)
    assert isinstance(caught.value.__cause__, socket.gaierror)


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "bad\x00name"])
async def test_a_name_that_cannot_be_one(host: str) -> None:
    with pytest.raises(ConnectionFailedError, match="host name of"):
        await TcpConnector().connect(host, 9092)


async def test_a_zone_that_cannot_be_one() -> None:
    with pytest.raises(ConnectionFailedError, match="::1%"):
        await TcpConnector().connect("::1%\x00", 9092)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("port", [-1, 0, 65536, 2**31 - 1])
async def test_a_port_that_cannot_be_one(host: str, port: int) -> None:
    """A broker's Metadata carries ports of 32 bits."""
    with pytest.raises(
        ConnectionFailedError, match=rf"{port} cannot be an address: ports go from 1 to 65535"
    ):
        await TcpConnector().connect(host, port)


async def test_connect_times_out_naming_seconds_and_option(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*args: object) -> socket.socket:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(transport, "dial", never)
    with pytest.raises(
        ConnectionFailedError, match=r"TCP connect to 10\.0\.0\.1:9092 timed out after 0\.02 s"
    ):
        await TcpConnector(connect_timeout=0.02).connect("10.0.0.1", 9092)
    with pytest.raises(
        ConnectionFailedError, match="name resolution and TCP connect to kafka:9092 timed out"
    ):
        await TcpConnector(connect_timeout=0.02).connect("kafka", 9092)


async def test_tls(authority: trustme.CA) -> None:
    async with serving(echo_once, server_context(authority, "localhost")) as port:
        stream = await TcpConnector(tls=client_context(authority)).connect("localhost", port)
        assert isinstance(stream, TLSStream)
        assert await echo(stream) == b"ping"


async def test_tls_sends_large_writes_whole(authority: trustme.CA) -> None:
    payload = bytes(range(256)) * 4096

    async def count(stream: ByteStream) -> None:
        async with stream:
            received = b""
            while len(received) < len(payload):
                received += await stream.receive()
            await stream.send(b"same" if received == payload else b"different")

    async with serving(count, server_context(authority, "localhost")) as port:
        stream = await TcpConnector(tls=client_context(authority)).connect("localhost", port)
        assert await echo(stream, payload) == b"same"


async def test_tls_to_a_plaintext_port_that_answers(authority: trustme.CA) -> None:
    async def answer_plain(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(answer_plain) as port:
        with pytest.raises(
            AuthenticationError, match=r"TLS handshake with .* does not speak TLS .*PLAINTEXT"
        ):
            await TcpConnector(tls=client_context(authority)).connect("localhost", port)


async def test_tls_to_a_plaintext_port_that_closes(authority: trustme.CA) -> None:
    async def close_at_once(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()

    async with serving(close_at_once) as port:
        with pytest.raises(
            ConnectionFailedError, match=r"peer closed the connection in the middle.*PLAINTEXT"
        ):
            await TcpConnector(tls=client_context(authority)).connect("localhost", port)


async def test_tls_to_a_silent_port_times_out_in_its_step(authority: trustme.CA) -> None:
    async def be_silent(stream: ByteStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with serving(be_silent) as port:
        connector = TcpConnector(tls=client_context(authority), connect_timeout=0.5)
        with pytest.raises(
            ConnectionFailedError, match=r"TLS handshake with localhost:\d+ timed out after 0\.5 s"
        ):
            await connector.connect("localhost", port)


async def test_tls_with_an_unknown_authority(authority: trustme.CA) -> None:
    async with serving(echo_once, server_context(authority, "localhost")) as port:
        with pytest.raises(AuthenticationError, match=r"certificate verify failed: .*CA.*tls=") as caught:
            await TcpConnector(tls=client_context(None)).connect("localhost", port)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_tls_with_a_certificate_for_another_host(authority: trustme.CA) -> None:
    async with serving(echo_once, server_context(authority, "other.example")) as port:
        with pytest.raises(AuthenticationError, match="certificate is not for 'localhost'"):
            await TcpConnector(tls=client_context(authority)).connect("localhost", port)


async def test_tls_with_an_ip_address_not_in_the_certificate(authority: trustme.CA) -> None:
    async with serving(echo_once, server_context(authority, "localhost")) as port:
        with pytest.raises(AuthenticationError, match=r"certificate is not for '127\.0\.0\.1'"):
            await TcpConnector(tls=client_context(authority)).connect("127.0.0.1", port)


async def test_tls_with_an_expired_certificate(authority: trustme.CA) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    context = server_context(
        authority, "localhost", not_before=past, not_after=past + datetime.timedelta(days=1)
    )
    async with serving(echo_once, context) as port:
        with pytest.raises(AuthenticationError, match="certificate has expired"):
            await TcpConnector(tls=client_context(authority)).connect("localhost", port)


async def test_cancelling_a_connect_leaves_nothing_open(authority: trustme.CA) -> None:
    accepted = anyio.Event()
    ended = anyio.Event()

    async def wait_for_end(stream: ByteStream) -> None:
        async with stream:
            accepted.set()
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
            ended.set()

    async with serving(wait_for_end) as port, anyio.create_task_group() as task_group:
        task_group.start_soon(TcpConnector(tls=client_context(authority)).connect, "localhost", port)
        with anyio.fail_after(60):
            await accepted.wait()
        task_group.cancel_scope.cancel()
        with anyio.fail_after(60, shield=True):
            await ended.wait()


def test_addresses_are_written_as_in_a_configuration() -> None:
    assert format_address("kafka", 9092) == "kafka:9092"
    assert format_address("::1", 9092) == "[::1]:9092"

"""The handshake: versions agreed, downgraded or refused, and who it may be that answers in no such way."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from scripted_peer import Peer, PeerConnector, connected, versions_response

from krafka._io.connection import Connection, ConnectionOptions
from krafka._io.transport import TcpConnector
from krafka._wire.api_versions import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    ApiVersionsResponseFinalizedFeatureKey,
    ApiVersionsResponseVersion,
)
from krafka._wire.frames import encode_response
from krafka._wire.metadata import MetadataRequest, MetadataResponse
from krafka.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    KafkaError,
    ProtocolError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import ByteStream

pytestmark = pytest.mark.anyio

UNSUPPORTED_VERSION = 35


async def failure(script: Callable[[Peer], Awaitable[None]], **options: Any) -> KafkaError:
    """The error with which connecting fails when the peer follows `script`; the stream must be closed."""
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions(**options))
    peers: list[Peer] = []

    async def play() -> None:
        peers.append(await connector.accept())
        await script(peers[0])

    error: KafkaError | None = None
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(play)
        try:
            await task_group.start(connection.run)
        except KafkaError as caught:
            error = caught
        task_group.cancel_scope.cancel()
    assert error is not None
    assert peers[0].stream.closed
    assert not connection.is_usable
    assert connection.close_reason is error
    return error


def refusal(request_correlation_id: int, *ranges: tuple[int, int, int]) -> bytes:
    """What a broker says to a version of ApiVersions it does not know: version 0, whatever was asked."""
    response = ApiVersionsResponse(
        error_code=UNSUPPORTED_VERSION,
        api_keys=[
            ApiVersionsResponseVersion(api_key=key, min_version=low, max_version=high)
            for key, low, high in ranges
        ],
    )
    return b"".join(encode_response(response, 0, request_correlation_id))


async def test_the_client_introduces_itself() -> None:
    connector = PeerConnector()
    options = ConnectionOptions(client_id="billing", software_version="1.2.3")
    connection = Connection(("kafka", 9092), connector, options)
    async with anyio.create_task_group() as task_group:

        async def answer() -> None:
            peer = await connector.accept()
            request = await peer.answer_versions(
                finalized_features_epoch=12,
                finalized_features=[
                    ApiVersionsResponseFinalizedFeatureKey(
                        name="transaction.version", min_version_level=2, max_version_level=2
                    )
                ],
            )
            assert request.client_id == "billing"
            assert request.version == 4
            assert request.body.client_software_name == "krafka"
            assert request.body.client_software_version == "1.2.3"

        task_group.start_soon(answer)
        await task_group.start(connection.run)
        assert connection.versions is not None
        assert connection.versions.finalized_features == {"transaction.version": 2}
        assert connection.versions.finalized_features_epoch == 12
        connection.close()


@pytest.mark.parametrize(
    ("named", "asked_next"),
    [([(18, 0, 3)], 3), ([(18, 0, 2)], 2), ([], 0), ([(3, 0, 9)], 0), ([(18, 0, 4)], 0), ([(18, -5, -1)], 0)],
)
async def test_a_refused_version_is_asked_lower_on_the_same_connection(
    named: list[tuple[int, int, int]], asked_next: int
) -> None:
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions())
    asked: list[int] = []
    async with anyio.create_task_group() as task_group:

        async def answer() -> None:
            peer = await connector.accept()
            request = await peer.receive()
            asked.append(request.version)
            peer.send(refusal(request.correlation_id, *named))
            asked.append((await peer.answer_versions([(3, 0, 9), (18, 0, 3)])).version)
            metadata_request = await peer.receive()
            peer.respond(metadata_request, MetadataResponse(cluster_id="after the downgrade"))

        task_group.start_soon(answer)
        await task_group.start(connection.run)
        response = await connection.request(MetadataRequest(topics=[]))
        connection.close()
    assert asked == [4, asked_next]
    assert response.cluster_id == "after the downgrade"
    assert connector.connects == [("kafka", 9092)]


async def test_a_broker_that_refuses_every_version() -> None:
    async def refuse(peer: Peer) -> None:
        while True:
            request = await peer.receive()
            peer.send(refusal(request.correlation_id, (18, 0, request.version - 1)))

    assert isinstance(await failure(refuse), UnsupportedVersionError)


async def test_a_broker_that_refuses_version_zero_too() -> None:
    async def refuse(peer: Peer) -> None:
        while True:
            request = await peer.receive()
            peer.send(refusal(request.correlation_id))

    error = await failure(refuse)
    assert isinstance(error, UnsupportedVersionError)
    assert "refused ApiVersions v0" in str(error)


async def test_an_error_code_is_raised_as_its_error() -> None:
    async def refuse(peer: Peer) -> None:
        request = await peer.receive()
        peer.respond(request, ApiVersionsResponse(error_code=42))

    error = await failure(refuse)
    assert isinstance(error, InvalidRequestError)
    assert "broker at kafka:9092 refused ApiVersions v4" in str(error)


async def test_an_empty_list_of_apis() -> None:
    async def answer(peer: Peer) -> None:
        await peer.answer_versions([])

    error = await failure(answer)
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error.__cause__, ProtocolError)
    assert "empty list" in str(error)


async def test_an_answer_too_many() -> None:
    async def answer(peer: Peer) -> None:
        request = await peer.receive()
        peer.send(2 * peer.frame(request, versions_response()))

    error = await failure(answer)
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error.__cause__, ProtocolError)
    assert "1 response(s) more" in str(error)


async def test_a_wrong_correlation_id() -> None:
    async def answer(peer: Peer) -> None:
        request = await peer.receive()
        request.correlation_id = 99
        peer.respond(request, versions_response())

    error = await failure(answer)
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error.__cause__, ProtocolError)
    assert "correlation id 99 instead of 0" in str(error)


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x00\xff\xff\xff\xff\xff", b"\x00\x00" + b"\xfe" * 40])
async def test_garbage_in_the_answer(body: bytes) -> None:
    async def answer(peer: Peer) -> None:
        request = await peer.receive()
        frame = request.correlation_id.to_bytes(4, "big") + body
        peer.send(len(frame).to_bytes(4, "big") + frame)

    error = await failure(answer)
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error.__cause__, ProtocolError)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x15\x03\x03\x00\x02\x02\x0a", "set tls=True"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP server"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH server"),
        (b"\xff\xff\xff\xff", "-1 bytes"),
        (b"\x7f\xff\xff\xff", "2147483647 bytes"),
    ],
)
async def test_somebody_else_answers(data: bytes, words: str) -> None:
    async def answer(peer: Peer) -> None:
        await peer.receive()
        peer.send(data)

    error = await failure(answer)
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error.__cause__, ProtocolError)
    assert words in str(error)
    assert "broker at kafka:9092" in str(error)


async def test_the_peer_closes_without_a_word() -> None:
    async def close(peer: Peer) -> None:
        await peer.receive()
        peer.end()

    error = await failure(close)
    assert isinstance(error, ConnectionFailedError)
    assert "closed the connection instead of answering ApiVersions v4; if the port speaks TLS" in str(error)


async def test_the_peer_closes_in_the_middle() -> None:
    async def close(peer: Peer) -> None:
        peer.send(peer.frame(await peer.receive(), versions_response())[:9])
        peer.end()

    error = await failure(close)
    assert isinstance(error, ConnectionFailedError)
    assert "in the middle of its answer to ApiVersions v4, after 9 bytes" in str(error)


async def test_the_peer_resets() -> None:
    async def reset(peer: Peer) -> None:
        await peer.receive()
        peer.reset()

    error = await failure(reset)
    assert isinstance(error, ConnectionFailedError)
    assert "Connection reset by peer" in str(error)


async def test_a_silent_peer_is_given_up_after_connect_timeout() -> None:
    async def be_silent(peer: Peer) -> None:
        await peer.receive()

    error = await failure(be_silent, connect_timeout=0.05)
    assert isinstance(error, ConnectionFailedError)
    assert "did not finish the handshake within 0.05 s (connect_timeout)" in str(error)


async def test_a_peer_that_does_not_read_is_given_up_after_connect_timeout() -> None:
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions(connect_timeout=0.05))

    async def stall() -> None:
        (await connector.accept()).stall_after(3)

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(stall)
        with pytest.raises(ConnectionFailedError, match="did not finish the handshake"):
            await task_group.start(connection.run)


async def test_a_trickled_handshake() -> None:
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions())
    async with anyio.create_task_group() as task_group:

        async def answer() -> None:
            peer = await connector.accept()
            peer.stream.chunk_size = 1
            await peer.answer_versions()

        task_group.start_soon(answer)
        await task_group.start(connection.run)
        assert connection.api_version(ApiVersionsRequest) == 4
        connection.close()


async def test_a_throttled_handshake_is_passed_on() -> None:
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions())
    async with anyio.create_task_group() as task_group:

        async def answer() -> None:
            await (await connector.accept()).answer_versions(throttle_time_ms=7000)

        task_group.start_soon(answer)
        before = anyio.current_time()
        await task_group.start(connection.run)
        assert before + 7 <= connection.throttled_until <= anyio.current_time() + 7
        connection.close()


# ---------------------------------------------------------------------- over real sockets


async def pump(stream: ByteStream, peer: Peer) -> None:
    """Let a `Peer` answer on a real stream."""

    async def outward() -> None:
        while True:
            while peer.stream.to_client:
                await stream.send(peer.stream.to_client.popleft())
            await peer.stream.changed.wait()

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(outward)
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                peer.stream.to_peer += await stream.receive()
                peer.stream.changed.notify()
        task_group.cancel_scope.cancel()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("use_tls", [False, True])
async def test_requests_over_tcp_and_tls(authority: trustme.CA, use_tls: bool) -> None:
    server, client = contexts(authority)
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(tcp, server, standard_compatible=False) if use_tls else tcp

    async def serve_one(stream: ByteStream) -> None:
        memory = await PeerConnector().connect("unused", 0)
        peer = Peer(memory)  # type: ignore[arg-type]
        async with stream, anyio.create_task_group() as task_group:

            async def answer() -> None:
                await peer.answer_versions()
                for number in range(3):
                    response = MetadataResponse(cluster_id=f"{number}" * 30_000)
                    peer.respond(await peer.receive(), response)

            task_group.start_soon(answer)
            await pump(stream, peer)

    async with listener, anyio.create_task_group() as task_group:
        task_group.start_soon(listener.serve, serve_one)
        port = tcp.extra(SocketAttribute.local_port)
        connector = TcpConnector(tls=client if use_tls else None)
        connection = Connection(("localhost", port), connector, ConnectionOptions())
        await task_group.start(connection.run)
        for number in range(3):
            with anyio.fail_after(60):
                response = await connection.request(MetadataRequest(topics=[]))
            assert response.cluster_id == f"{number}" * 30_000
        connection.close()
        task_group.cancel_scope.cancel()


async def test_plaintext_to_a_tls_port(authority: trustme.CA) -> None:
    server, _ = contexts(authority)
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def never(stream: ByteStream) -> None:
        raise AssertionError("the handshake cannot succeed")

    async with TLSListener(tcp, server) as listener, anyio.create_task_group() as task_group:
        task_group.start_soon(listener.serve, never)
        port = tcp.extra(SocketAttribute.local_port)
        connection = Connection(("localhost", port), TcpConnector(), ConnectionOptions())
        with pytest.raises(ConnectionFailedError, match="tls=True"):
            await task_group.start(connection.run)
        task_group.cancel_scope.cancel()


async def test_a_client_certificate_that_is_missing_is_named(authority: trustme.CA) -> None:
    """In TLS 1.3 the refusal comes after the client's side of the handshake is over."""
    server, client = contexts(authority)
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def refuse(stream: ByteStream) -> None:
        # The alert has to leave before the socket closes, which the listener of anyio does not see to.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server.wrap_bio(incoming, outgoing, server_side=True)
        async with stream:
            with contextlib.suppress(ssl.SSLError):
                while True:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        tls.do_handshake()
                    await stream.send(outgoing.read())
                    incoming.write(await stream.receive())
            await stream.send(outgoing.read())

    async with tcp, anyio.create_task_group() as task_group:
        task_group.start_soon(tcp.serve, refuse)
        port = tcp.extra(SocketAttribute.local_port)
        connection = Connection(("localhost", port), TcpConnector(tls=client), ConnectionOptions())
        with pytest.raises(AuthenticationError, match=r"requires a client certificate.*CERTIFICATE_REQUIRED"):
            await task_group.start(connection.run)
        task_group.cancel_scope.cancel()


async def test_connected_helper_ends_cleanly() -> None:
    async with connected() as (connection, peer):
        pass
    assert peer.stream.closed
    assert connection.close_reason is not None

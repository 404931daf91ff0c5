"""An in-memory broker end for tests: the test reads requests and decides on every byte that goes back."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.abc import ByteStream
from trio.testing import MockClock

from krafka._io.connection import Connection, ConnectionOptions
from krafka._state.framing import FrameReader
from krafka._wire.api import APIS_BY_KEY
from krafka._wire.api_versions import ApiVersionsRequest, ApiVersionsResponse, ApiVersionsResponseVersion
from krafka._wire.frames import decode_request, encode_response
from krafka._wire.metadata import MetadataRequest, MetadataResponse, MetadataResponseBroker
from krafka._wire.produce import ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData
from krafka.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from krafka._wire.schema import Response
    from krafka.errors import ConnectionFailedError


class _Wakeup:
    """Waiters continue whenever something changed."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class PeerStream(ByteStream):
    """The client's end. What it sends and receives is ruled by the `Peer` on the other end."""

    def __init__(self) -> None:
        self.changed = _Wakeup()
        self.to_client: deque[bytes] = deque()
        self.to_peer = bytearray()
        self.eof = False
        self.broken: Exception | None = None
        self.closed = False
        self.chunk_size = 65536
        self.room: float = math.inf
        """Bytes the peer still takes before writes stall."""
        self.sends = 0

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        while True:
            if self.closed:
                raise anyio.ClosedResourceError
            if self.to_client:
                data = self.to_client.popleft()
                size = min(max_bytes, self.chunk_size)
                if data[size:]:
                    self.to_client.appendleft(data[size:])
                return data[:size]
            if self.broken is not None:
                raise anyio.BrokenResourceError from self.broken
            if self.eof:
                raise anyio.EndOfStream
            await self.changed.wait()

    async def send(self, item: bytes) -> None:
        self.sends += 1
        await anyio.lowlevel.checkpoint()
        rest = bytes(item)
        while True:
            if self.closed:
                raise anyio.ClosedResourceError
            if self.broken is not None:
                raise anyio.BrokenResourceError from self.broken
            taken = len(rest) if self.room >= len(rest) else int(self.room)
            self.to_peer += rest[:taken]
            self.room -= taken
            rest = rest[taken:]
            if taken:
                self.changed.notify()
            if not rest:
                return
            await self.changed.wait()

    async def send_eof(self) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self.closed = True
        self.changed.notify()
        await anyio.lowlevel.checkpoint()


class ReceivedRequest:
    """A request as the peer decoded it."""

    def __init__(
        self, api_key: int, version: int, correlation_id: int, client_id: str | None, body: Any
    ) -> None:
        self.api_key = api_key
        self.version = version
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.body = body


class Peer:
    """The broker's end of one stream."""

    def __init__(self, stream: PeerStream) -> None:
        self.stream = stream
        self._frames = FrameReader(2**31 - 1, "client")
        self._requests: deque[ReceivedRequest] = deque()

    async def receive(self) -> ReceivedRequest:
        """The next request, waited for at most a minute."""
        with anyio.fail_after(60):
            while not self._requests:
                while not self.stream.to_peer:
                    await self.stream.changed.wait()
                self._decode()
        return self._requests.popleft()

    def _decode(self) -> None:
        data = bytes(self.stream.to_peer)
        self.stream.to_peer.clear()
        for frame in self._frames.feed(data):
            header, body = decode_request(frame)
            self._requests.append(
                ReceivedRequest(header.api_key, header.version, header.correlation_id, header.client_id, body)
            )

    def respond(self, request: ReceivedRequest, response: Response) -> None:
        self.send(self.frame(request, response))

    def frame(self, request: ReceivedRequest, response: Response) -> bytes:
        return b"".join(encode_response(response, request.version, request.correlation_id))

    def send(self, data: bytes) -> None:
        self.stream.to_client.append(data)
        self.stream.changed.notify()

    def end(self) -> None:
        self.stream.eof = True
        self.stream.changed.notify()

    def reset(self) -> None:
        self.stream.broken = ConnectionResetError(104, "Connection reset by peer")
        self.stream.changed.notify()

    def stall_after(self, byte_count: float) -> None:
        self.stream.room = byte_count
        self.stream.changed.notify()

    async def stalled(self) -> None:
        """Until a write has used up the room it was given."""
        with anyio.fail_after(60):
            while self.stream.room:
                await self.stream.changed.wait()

    async def closed_by_client(self, within: float = 60) -> None:
        with anyio.fail_after(within):
            while not self.stream.closed:
                await self.stream.changed.wait()

    async def answer_versions(
        self, ranges: Iterable[tuple[int, int, int]] | None = None, **fields: Any
    ) -> ReceivedRequest:
        """Take the ApiVersions request and answer it; by default with all that the client knows."""
        request = await self.receive()
        assert isinstance(request.body, ApiVersionsRequest)
        self.respond(request, versions_response(ranges, **fields))
        return request


def versions_response(
    ranges: Iterable[tuple[int, int, int]] | None = None, **fields: Any
) -> ApiVersionsResponse:
    if ranges is None:
        ranges = [(api.key, api.min_version, api.max_version) for api in APIS_BY_KEY.values()]
    return ApiVersionsResponse(
        api_keys=[
            ApiVersionsResponseVersion(api_key=key, min_version=low, max_version=high)
            for key, low, high in ranges
        ],
        **fields,
    )


class PeerConnector:
    """A `Connector` whose streams end at `Peer`s."""

    def __init__(self) -> None:
        self.peers: deque[Peer] = deque()
        self.connects: list[tuple[str, int]] = []
        self.refuse: ConnectionFailedError | None = None
        self._changed = _Wakeup()

    async def connect(self, host: str, port: int) -> ByteStream:
        await anyio.lowlevel.checkpoint()
        self.connects.append((host, port))
        if self.refuse is not None:
            raise self.refuse
        stream = PeerStream()
        self.peers.append(Peer(stream))
        self._changed.notify()
        return stream

    async def accept(self) -> Peer:
        with anyio.fail_after(60):
            while not self.peers:
                await self._changed.wait()
        return self.peers.popleft()


class Outcomes:
    """Collects what `on_response` is called with, by the name of the request."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[Any]] = {}
        self.order: list[str] = []
        self._changed = _Wakeup()

    def of(self, name: str) -> Any:
        def on_response(outcome: Any, now: float) -> None:
            self.by_name.setdefault(name, []).append(outcome)
            self.order.append(name)
            self._changed.notify()

        return on_response

    def only(self, name: str) -> Any:
        """The one outcome of `name`; fails when there was none or more than one."""
        (outcome,) = self.by_name[name]
        return outcome

    async def wait_for(self, *names: str) -> None:
        with anyio.fail_after(60):
            while not all(name in self.by_name for name in names):
                await self._changed.wait()


@contextlib.asynccontextmanager
async def connected(
    *, versions: Iterable[tuple[int, int, int]] | None = None, node_id: int | None = 1, **options: Any
) -> AsyncIterator[tuple[Connection, Peer]]:
    """A running connection past its handshake, and its peer. Closed on leaving, and its task with it."""
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions(**options), node_id=node_id)
    async with anyio.create_task_group() as task_group:
        connected_peers: list[Peer] = []

        async def accept() -> None:
            peer = await connector.accept()
            connected_peers.append(peer)
            await peer.answer_versions(versions)

        task_group.start_soon(accept)
        await task_group.start(connection.run)
        yield connection, connected_peers[0]
        connection.close()


METADATA = MetadataRequest(topics=[])


def metadata(cluster_id: str = "answer", throttle_time_ms: int = 0) -> MetadataResponse:
    return MetadataResponse(
        cluster_id=cluster_id,
        throttle_time_ms=throttle_time_ms,
        brokers=[MetadataResponseBroker(node_id=1, host="kafka", port=9092)],
    )


def produce(size: int = 100, *, acks: int = -1, index: int = 0) -> ProduceRequest:
    partition = ProduceRequestPartitionData(index=index, records=b"r" * size)
    topic = ProduceRequestTopicData(name="orders", partition_data=[partition])
    return ProduceRequest(acks=acks, timeout_ms=30_000, topic_data=[topic])


def partition_of(request: ReceivedRequest) -> int:
    return request.body.topic_data[0].partition_data[0].index


def autojump() -> pytest.MarkDecorator:
    """Trio with a clock that jumps over every wait; each test needs a clock of its own."""
    return pytest.mark.parametrize(
        "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="mock-clock")]
    )


def assert_network_errors(outcomes: Outcomes, **possibly_written: bool) -> None:
    for name, written in possibly_written.items():
        error = outcomes.only(name)
        assert type(error) is NetworkError
        assert error.code == 13
        assert error.possibly_written is written

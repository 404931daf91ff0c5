"""A few brokers behind in-memory streams: they serve metadata, and fail in the ways the tests ask for."""

from __future__ import annotations

import contextlib
import enum
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
from scripted_peer import PeerStream, ReceivedRequest, versions_response

from krafka._io.brokers import BrokerPool
from krafka._io.connection import Connection, ConnectionOptions
from krafka._state.framing import FrameReader
from krafka._wire.api_versions import ApiVersionsRequest
from krafka._wire.frames import decode_request, encode_response
from krafka._wire.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from krafka.errors import AuthenticationError, ConnectionFailedError
from krafka.retry import RetryPolicy, kafka_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from anyio.abc import ByteStream, TaskGroup

Address = tuple[str, int]


class Mode(enum.Enum):
    """How an address behaves towards new connections."""

    UP = "up"
    REFUSES = "refuses"
    DROPS_PACKETS = "drops packets"
    REFUSES_CREDENTIALS = "refuses credentials"


class NetStream(PeerStream):
    """The client's end of a stream; closing it takes `slow_close` seconds."""

    slow_close = 0.0

    async def aclose(self) -> None:
        if self.slow_close:
            await anyio.sleep(self.slow_close)
        await super().aclose()


class FakeBroker:
    """One address. Requests are answered by `answer`, or kept in `unanswered` while `hangs`."""

    def __init__(self, net: FakeNet, address: Address) -> None:
        self.net = net
        self.address = address
        self.mode = Mode.UP
        self.hangs = False
        self.connects = 0
        self.connected_at: list[float] = []
        self.requests: list[MetadataRequest] = []
        self.asked_at: list[float] = []
        self.unanswered: list[tuple[PeerStream, ReceivedRequest]] = []
        self.streams: list[NetStream] = []
        self.api_ranges: Iterable[tuple[int, int, int]] | None = None
        self.answer: Callable[[MetadataRequest], MetadataResponse] = net.metadata

    @property
    def open_streams(self) -> int:
        return sum(not stream.closed for stream in self.streams)

    def drop_connections(self) -> None:
        for stream in self.streams:
            stream.eof = True
            stream.changed.notify()

    def answer_now(self) -> None:
        """Give the answers held back so far."""
        while self.unanswered:
            stream, request = self.unanswered.pop(0)
            self._respond(stream, request)

    async def serve(self, stream: PeerStream) -> None:
        frames = FrameReader(2**31 - 1, "client")
        while not stream.closed:
            while not stream.to_peer and not stream.closed:
                await stream.changed.wait()
            data = bytes(stream.to_peer)
            stream.to_peer.clear()
            for frame in frames.feed(data):
                header, body = decode_request(frame)
                request = ReceivedRequest(
                    header.api_key, header.version, header.correlation_id, header.client_id, body
                )
                if isinstance(body, MetadataRequest):
                    self.requests.append(body)
                    self.asked_at.append(anyio.current_time())
                if self.hangs and not isinstance(body, ApiVersionsRequest):
                    self.unanswered.append((stream, request))
                else:
                    self._respond(stream, request)
                self.net.notify()
        self.net.notify()

    def _respond(self, stream: PeerStream, request: ReceivedRequest) -> None:
        if isinstance(request.body, ApiVersionsRequest):
            response: Any = versions_response(self.api_ranges)
        else:
            response = self.answer(request.body)
        stream.to_client.append(b"".join(encode_response(response, request.version, request.correlation_id)))
        stream.changed.notify()


class FakeNet:
    """A `Connector` to brokers that share one picture of the cluster: `nodes` and `topics`."""

    def __init__(self, *hosts: str) -> None:
        self.nodes: dict[int, Address] = {}
        self.topics: dict[str, MetadataResponseTopic] = {}
        self.cluster_id = "cluster-one"
        self.brokers: dict[Address, FakeBroker] = {}
        self.task_group: TaskGroup | None = None
        self._event = anyio.Event()
        for node_id, host in enumerate(hosts, start=1):
            self.nodes[node_id] = (host, 9092)
            self.broker(host)

    def broker(self, host: str, port: int = 9092) -> FakeBroker:
        return self.brokers.setdefault((host, port), FakeBroker(self, (host, port)))

    def add_topic(self, name: str, leaders: Sequence[int] = (1,), *, epoch: int = 0, error: int = 0) -> None:
        self.topics[name] = topic(name, leaders, epoch=epoch, error=error)

    def metadata(self, request: MetadataRequest) -> MetadataResponse:
        assert request.topics is not None, "all topics of the cluster were asked for"
        return MetadataResponse(
            brokers=[
                MetadataResponseBroker(node_id=node_id, host=host, port=port)
                for node_id, (host, port) in self.nodes.items()
            ],
            cluster_id=self.cluster_id,
            topics=[
                self.topics.get(entry.name or "", MetadataResponseTopic(name=entry.name, error_code=3))
                for entry in request.topics
            ],
        )

    def notify(self) -> None:
        self._event.set()
        self._event = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something a broker sees makes `condition` true; a minute at most."""
        with anyio.fail_after(60):
            while not condition():
                await self._event.wait()

    async def connect(self, host: str, port: int) -> ByteStream:
        await anyio.lowlevel.checkpoint()
        broker = self.broker(host, port)
        broker.connects += 1
        broker.connected_at.append(anyio.current_time())
        self.notify()
        if broker.mode is Mode.REFUSES:
            raise ConnectionFailedError(f"TCP connect to {host}:{port} failed: connection refused")
        if broker.mode is Mode.REFUSES_CREDENTIALS:
            raise AuthenticationError(f"{host}:{port} refused the credentials")
        if broker.mode is Mode.DROPS_PACKETS:
            await anyio.sleep_forever()
        stream = NetStream()
        broker.streams.append(stream)
        assert self.task_group is not None
        self.task_group.start_soon(broker.serve, stream)
        return stream


def topic(
    name: str, leaders: Sequence[int] = (1,), *, epoch: int = 0, error: int = 0, topic_id: bytes = b""
) -> MetadataResponseTopic:
    return MetadataResponseTopic(
        name=name,
        error_code=error,
        topic_id=topic_id or name.encode().ljust(16, b"\1")[:16],
        partitions=[]
        if error
        else [
            MetadataResponsePartition(
                partition_index=number,
                leader_id=leader,
                leader_epoch=epoch,
                error_code=5 if leader < 0 else 0,
            )
            for number, leader in enumerate(leaders)
        ],
    )


@contextlib.asynccontextmanager
async def pool_on(
    net: FakeNet,
    *bootstrap: str,
    backoff: RetryPolicy | None = None,
    options: ConnectionOptions | None = None,
) -> AsyncIterator[BrokerPool]:
    """A pool whose brokers are the net's; on leaving, all its connections must be gone."""
    connection_options = options or ConnectionOptions()

    def open_connection(address: Address, node_id: int | None) -> Connection:
        return Connection(address, net, connection_options, node_id=node_id)

    async with anyio.create_task_group() as brokers, anyio.create_task_group() as connections:
        net.task_group = brokers
        pool = BrokerPool(
            [(host, 9092) for host in bootstrap],
            open_connection,
            connections,
            backoff=backoff or kafka_policy(0.001, 0.002),
            random=Random(7),
        )
        try:
            yield pool
        finally:
            with anyio.fail_after(60, shield=True):
                await pool.close()
            assert all(broker.open_streams == 0 for broker in net.brokers.values())
            brokers.cancel_scope.cancel()

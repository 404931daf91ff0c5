"""One broker of a fake cluster: its connections, each of which it serves request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from krafka._wire.api import APIS_BY_KEY
from krafka._wire.frames import decode_request, encode_response, peek_request
from krafka.errors import ProtocolError
from krafka.testing.fake.apis import HANDLERS
from krafka.testing.fake.apis.api_versions import API_KEY as API_VERSIONS_KEY
from krafka.testing.fake.apis.api_versions import refuse_version
from krafka.testing.fake.apis.handler import Call, ConnectionDroppedError
from krafka.testing.fake.pace import Pace
from krafka.testing.fake.requests import ReceivedRequest
from krafka.testing.fake.streams import MemoryStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.abc import ByteStream

    from krafka._wire.schema import Request, Response
    from krafka.testing.fake.cluster import FakeCluster
    from krafka.testing.fake.faults import Fault
    from krafka.testing.fake.topics import Picture

MOST_REQUEST_BYTES = 100 << 20
"""Kafka's default of `socket.request.max.bytes`."""

_STREAM_ERRORS = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
_SIZE_BYTES = 4
_CORRELATION_ID = slice(4, 8)


class _Connection:
    """One connection, and what was received on it and not taken up yet."""

    def __init__(self, stream: ByteStream, number: int, limit: int) -> None:
        self.stream = stream
        self.number = number
        self._limit = limit
        self.scope = anyio.CancelScope()
        self.received = bytearray()

    @property
    def unread_requests(self) -> int:
        data = bytes(self.received)
        if isinstance(self.stream, MemoryStream):
            data += self.stream.unread()
        return sum(1 for _ in _frame_ends(data, self._limit))

    def take(self) -> bytes | None:
        """The next whole request, without its size; None while it is not whole."""
        end = next(_frame_ends(self.received, self._limit), None)
        if end is None:
            return None
        frame = bytes(self.received[_SIZE_BYTES:end])
        del self.received[:end]
        return frame


def _frame_ends(data: bytes | bytearray, limit: int) -> Iterator[int]:
    """Where each whole frame ends. Raises `ConnectionDroppedError` at a size that no request may have."""
    end = 0
    while len(data) - end >= _SIZE_BYTES:
        size = int.from_bytes(data[end : end + _SIZE_BYTES], "big", signed=True)
        if not 0 <= size <= limit:
            raise ConnectionDroppedError(f"a request of {size} bytes was announced")
        end += _SIZE_BYTES + size
        if end > len(data):
            return
        yield end


class FakeBroker:
    """One broker of a `FakeCluster`: whether it is up, and whether it is paused.

    A broker that is up takes connections. While it is paused, they stay open and nothing happens on them.
    """

    def __init__(self, cluster: FakeCluster, node_id: int) -> None:
        self.node_id = node_id
        self.is_up = True
        self.connects: int = 0
        """Connections it took, since it was made."""
        self._cluster = cluster
        self._open: dict[_Connection, None] = {}
        self.pace: Pace = Pace()
        """How it reads; `FakeCluster.read_slowly` and `stop_reading` change that."""
        self.picture: Picture | None = None
        """What `FakeCluster.freeze_metadata` has it tell, None for what is true."""
        self._going = anyio.Event()
        self._going.set()

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    @property
    def unread_requests(self) -> int:
        """Whole requests that lie unread on this broker's connections in memory, behind one that takes its time."""
        return sum(connection.unread_requests for connection in self._open)

    @property
    def is_paused(self) -> bool:
        """Whether `FakeCluster.pause_broker` stopped it in its tracks."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Do nothing on any connection until `resume`."""
        if self._going.is_set():
            self._going = anyio.Event()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._going.set()

    def drop_connections(self) -> None:
        """Close every connection now."""
        for connection in self._open:
            connection.scope.cancel()

    async def serve(self, stream: ByteStream) -> None:
        """The life of one connection; ends when either side closes it."""
        self.connects += 1
        connection = _Connection(stream, self._cluster.next_connection(), self._cluster.max_request_size)
        with connection.scope:
            self._open[connection] = None
            self._cluster.notify()
            try:
                await self._read(connection)
            except (*_STREAM_ERRORS, ConnectionDroppedError, ProtocolError):
                # Each of them ends the connection, and says to this side nothing but that.
                pass
            finally:
                del self._open[connection]
                # Shielded, lest a mistake in a test's own callable be lost to the cancellation that follows it.
                with anyio.CancelScope(shield=True):
                    await anyio.aclose_forcefully(stream)
                self._cluster.notify()

    async def _read(self, connection: _Connection) -> None:
        while True:
            await self._going.wait()
            while (frame := connection.take()) is None:
                await self._receive(connection)
                await self._going.wait()
            await self._serve_one(connection.stream, frame, connection.number)

    async def _receive(self, connection: _Connection) -> None:
        size, delay = self.pace.next_read(connection.number)
        if not size:
            await self.pace.changed.wait()
            return
        if delay:
            await anyio.sleep(delay)
        data = b""
        with self.pace.reading():
            data = await connection.stream.receive(size)
        self.pace.took(connection.number, len(data))
        connection.received += data

    async def _serve_one(self, stream: ByteStream, frame: bytes, number: int) -> None:
        api_key, version, correlation_id = peek_request(frame)
        first, last = self._cluster.api_ranges.get(api_key, (0, -1))
        if not first <= version <= last:
            if api_key != API_VERSIONS_KEY:
                raise ConnectionDroppedError(f"version {version} of API {api_key} is not spoken here")
            refusal = encode_response(refuse_version(self._cluster.api_ranges), 0, correlation_id)
            await stream.send(b"".join(refusal))
            return
        header, body = decode_request(frame)
        request = ReceivedRequest(
            api=APIS_BY_KEY[api_key].name,
            version=version,
            correlation_id=correlation_id,
            client_id=header.client_id,
            body=body,
            broker=self.node_id,
            connection=number,
            received_at=anyio.current_time(),
        )
        await self._answer(stream, request, body)

    async def _answer(self, stream: ByteStream, request: ReceivedRequest, body: Request[Response]) -> None:
        cluster = self._cluster
        handler = HANDLERS[request.api]
        cluster.note(request)
        strike = cluster.script.strike(request, handler.places(cluster, body))
        fault = strike.whole
        if fault is not None and not fault.after_append:
            await self._hold_up(fault)
        response = handler.answer(Call(cluster, request, strike, anyio.current_time()), body)
        cluster.notify()
        if fault is not None and fault.after_append:
            await self._hold_up(fault)
        if response is None:
            return
        if fault is not None:
            if fault.throttle_time_ms:
                response.throttle_time_ms = fault.throttle_time_ms  # type: ignore[attr-defined]  # all here have it
            if fault.edit is not None:
                fault.edit(response)
        answer = b"".join(encode_response(response, request.version, request.correlation_id))
        if fault is None:
            await stream.send(answer)
        else:
            await _send_damaged(stream, answer, fault)
        cluster.notify()

    async def _hold_up(self, fault: Fault) -> None:
        self._cluster.notify()
        await fault.wait()
        # What held the request up may have been the broker itself.
        await self._going.wait()
        if fault.disconnect:
            raise ConnectionDroppedError("a fault says so")


async def _send_damaged(stream: ByteStream, answer: bytes, fault: Fault) -> None:
    """Send an answer as a fault wants it to arrive."""
    damaged = bytearray(answer)
    if fault.correlation_id is not None:
        damaged[_CORRELATION_ID] = fault.correlation_id.to_bytes(4, "big", signed=True)
    if fault.frame_size is not None:
        damaged[:4] = fault.frame_size.to_bytes(4, "big", signed=True)
    end = len(damaged) if fault.cut_at is None else min(fault.cut_at, len(damaged))
    if fault.cut_at is None and fault.stall:
        end = 0
    step = fault.chunk_size or max(end, 1)
    for start in range(0, end, step):
        if start and fault.chunk_delay:
            await anyio.sleep(fault.chunk_delay)
        await stream.send(bytes(damaged[start : min(start + step, end)]))
    if fault.stall:
        await anyio.sleep_forever()
    if fault.cut_at is not None:
        raise ConnectionDroppedError("the answer was cut short")

"""Counts what a producer's connections carry, under the producer: bytes both ways, and requests by their kind."""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

from anyio.abc import ByteStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from krafka._io.transport import Connector

PRODUCE = 0
_HEAD = struct.Struct(">ih")


class WireCount:
    """The totals over every connection of one producer; give `connector` to it."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self.restart()

    def restart(self) -> None:
        """Count from here on."""
        self.sent_bytes = 0
        self.received_bytes = 0
        self.requests: Counter[int] = Counter()
        """Requests sent, by Kafka's API key (0 is Produce)."""

    async def connect(self, host: str, port: int) -> ByteStream:
        """A stream of the connector below, counted. Raises `ConnectionFailedError`."""
        return _CountedStream(await self._connector.connect(host, port), self)

    def describe_requests(self) -> str:
        """The requests as a person reads them."""
        produce = self.requests[PRODUCE]
        return f"{produce:,} Produce, {self.requests.total() - produce:,} others"


class _CountedStream(ByteStream):
    """Passes everything on, following the frames of the requests."""

    def __init__(self, stream: ByteStream, count: WireCount) -> None:
        self._stream = stream
        self._count = count
        self._head = b""
        self._body_left = 0

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)
        self._count.sent_bytes += len(item)
        self._follow(item)

    def _follow(self, data: bytes) -> None:
        """Find the frames' heads: four bytes of length, then two of the API key."""
        position = 0
        while position < len(data):
            if self._body_left:
                step = min(self._body_left, len(data) - position)
                self._body_left -= step
            else:
                step = min(_HEAD.size - len(self._head), len(data) - position)
                self._head += bytes(data[position : position + step])
                if len(self._head) == _HEAD.size:
                    length, api_key = _HEAD.unpack(self._head)
                    self._count.requests[api_key] += 1
                    self._body_left = length - 2
                    self._head = b""
            position += step

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._stream.receive(max_bytes)
        self._count.received_bytes += len(data)
        return data

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes

"""A cluster's streams with the answers spoilt on their way to the client, whole frame by whole frame."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import anyio
from anyio.abc import ByteStream

from krafka._state.framing import FrameReader
from krafka._wire.api import APIS_BY_KEY
from krafka._wire.frames import decode_response, peek_request, response_correlation_id
from krafka.errors import ProtocolError

from .mutator import mutated, stream_of

if TYPE_CHECKING:
    from random import Random

    from krafka._io.transport import Connector
    from krafka._wire.schema import Response

_LARGEST = 2**31 - 1


class _Asked(NamedTuple):
    response: type[Response]
    version: int
    correlation_id: int


class Hostility:
    """How often answers are spoilt, by which hand, and how many have been.

    With `damage_only` no spoilt answer passes for a sound one: the client can tell every one of them for what it is.
    """

    def __init__(self, random: Random, rate: float, *, damage_only: bool) -> None:
        self.random = random
        self.rate = rate
        self.damage_only = damage_only
        self.spoilt = 0
        self._other = b"\0\0\0\7\0\0\0\1\0\6orders\0\0\0\1"

    def spoil(self, frame: bytes, asked: _Asked) -> list[bytes] | None:
        """The pieces in which an answer arrives instead; None to leave it as it is."""
        if self.random.random() >= self.rate:
            self._other = frame
            return None
        self.spoilt += 1
        while True:
            chunks = stream_of(self.random, mutated(self.random, frame, self._other))
            if not self.damage_only or _is_damaged(chunks, asked):
                return chunks


def _is_damaged(chunks: list[bytes], asked: _Asked) -> bool:
    """Whether the bytes are no sound answer, even if sound ones follow them or the stream ends here."""
    frames = FrameReader(100 * 2**20, "broker")
    try:
        for chunk in chunks:
            for frame in frames.feed(chunk):
                if response_correlation_id(frame) != asked.correlation_id:
                    return True
                decode_response(asked.response, asked.version, frame)
                return False
    except ProtocolError:
        return True
    return False


class HostileConnector:
    """Connects through another connector, and spoils what comes back."""

    def __init__(self, connector: Connector, hostility: Hostility) -> None:
        self._connector = connector
        self._hostility = hostility

    async def connect(self, host: str, port: int) -> ByteStream:
        """As `Connector.connect`."""
        return HostileStream(await self._connector.connect(host, port), self._hostility)


class HostileStream(ByteStream):
    """A client's stream, which ends after a spoilt answer and what came together with it."""

    def __init__(self, stream: ByteStream, hostility: Hostility) -> None:
        self._stream = stream
        self._hostility = hostility
        self._requests = FrameReader(_LARGEST, "client")
        self._answers = FrameReader(_LARGEST, "broker")
        self._asked: deque[_Asked] = deque()
        self._arrived: deque[bytes] = deque()
        self._is_spoilt = False

    async def send(self, item: bytes) -> None:
        for frame in self._requests.feed(item):
            api_key, version, correlation_id = peek_request(frame)
            self._asked.append(_Asked(APIS_BY_KEY[api_key].response, version, correlation_id))
        await self._stream.send(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while not self._arrived:
            if self._is_spoilt:
                # Not a byte more: a length that lies would swallow any number of them.
                raise anyio.EndOfStream
            for view in self._answers.feed(await self._stream.receive(max_bytes)):
                self._arrive(bytes(view))
        await anyio.lowlevel.checkpoint()
        return self._arrived.popleft()

    def _arrive(self, frame: bytes) -> None:
        chunks = self._hostility.spoil(frame, self._asked.popleft())
        if chunks is None:
            self._arrived.append(len(frame).to_bytes(4, "big") + frame)
        else:
            self._is_spoilt = True
            self._arrived.extend(filter(None, chunks))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

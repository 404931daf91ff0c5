"""Connections that break in every way a network can break them, by a seed.

The faults are made in the client's own process, around real TCP streams: what a request's first bytes, its last or
none of them reach the broker is decided here, not by luck with the kernel's buffers.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from krafka import ConnectionFailedError
from krafka._io.transport import TcpConnector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from anyio.abc import TaskGroup

STREAM_ERRORS = (
    anyio.BrokenResourceError,
    anyio.BusyResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
)
LATE_SECONDS = 1.0
HANDSHAKE_BYTES = 600
"""About what a broker answers to ApiVersions; the request is shorter."""
IN_HANDSHAKE = 0.15
"""How many connections meet their fate before they can be used."""
PIECE_BYTES = 7
PIECES = 200
SLOW_READS = 40
"""How many reads of a connection are slow before it breaks."""


class Fate(Enum):
    """What happens to a connection once enough bytes went through it."""

    REFUSE = auto()
    """It is never opened."""
    CUT = auto()
    """It breaks in the middle of a write; the first bytes of the write reach the broker."""
    LATE = auto()
    """It breaks in the middle of a write for the client; the broker gets the rest later, from the dead."""
    TRUNCATE = auto()
    """It ends in the middle of a read, after the first bytes of it."""
    DEAFEN = auto()
    """It breaks instead of a read: the broker has served a request whose answer is lost."""
    STALL = auto()
    """It stays open, and nothing goes through any more in either direction."""
    DELAY = auto()
    """Reads and writes take some milliseconds each for a while, then it breaks."""
    TRICKLE = auto()
    """Reads and writes go through a few bytes at a time for a while, then it breaks."""


MIXTURE: Mapping[Fate, int] = {
    Fate.REFUSE: 1,
    Fate.CUT: 4,
    Fate.LATE: 4,
    Fate.TRUNCATE: 3,
    Fate.DEAFEN: 4,
    Fate.STALL: 1,
    Fate.DELAY: 2,
    Fate.TRICKLE: 2,
}
"""How often each fate is drawn, relative to the others."""
FOLLOWS_WRITES = frozenset({Fate.CUT, Fate.LATE})
FOLLOWS_READS = frozenset({Fate.TRUNCATE, Fate.DEAFEN, Fate.STALL, Fate.DELAY, Fate.TRICKLE})


class ChaosConnector:
    """Opens TCP streams each of which has a `Fate`, drawn from `seed` and the stream's number.

    Use it within `running()`: leaving it waits until what travels late has arrived. `longest` bounds the bytes a
    connection writes before its fate comes.
    """

    def __init__(self, seed: int, *, longest: int = 400_000, mixture: Mapping[Fate, int] = MIXTURE) -> None:
        self.met: Counter[Fate] = Counter()
        """How often each fate came true."""
        self._seed = seed
        self._longest = longest
        self._fates = list(mixture)
        self._weights = list(mixture.values())
        self._opened = 0
        self._tcp = TcpConnector(connect_timeout=5.0)
        self._late: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[ChaosConnector]:
        """The connector with the task group in which late bytes travel."""
        async with anyio.create_task_group() as self._late:
            yield self

    async def connect(self, host: str, port: int) -> ByteStream:
        """A stream to `host`:`port` with a fate of its own. Raises `ConnectionFailedError`."""
        self._opened += 1
        random = Random(f"{self._seed}/{self._opened}")
        [fate] = random.choices(self._fates, self._weights)
        if fate is Fate.REFUSE:
            await checkpoint()
            self.met[fate] += 1
            raise ConnectionFailedError(
                f"TCP connect to {host}:{port} failed: refused by the chaos of seed {self._seed}"
            )
        stream = await self._tcp.connect(host, port)
        limit = int(math.exp(random.uniform(math.log(2_000), math.log(self._longest))))
        if fate not in FOLLOWS_WRITES:
            # Answers are much shorter than requests.
            limit = HANDSHAKE_BYTES + limit // 40
        if random.random() < IN_HANDSHAKE:
            limit = random.randrange(HANDSHAKE_BYTES)
        return FaultyStream(stream, fate, limit, random, self)

    def deliver_late(self, stream: ByteStream, rest: bytes, delay: float) -> None:
        """Give the broker the rest of what the client believes to have failed to send, `delay` seconds from now."""
        assert self._late is not None
        self._late.start_soon(_deliver_late, stream, rest, delay)


async def _deliver_late(stream: ByteStream, rest: bytes, delay: float) -> None:
    try:
        await anyio.sleep(delay)
        with anyio.move_on_after(5), suppress(*STREAM_ERRORS):
            await stream.send(rest)
            # The broker has served it once it answers; nobody else hears it.
            await stream.receive()
    finally:
        await anyio.aclose_forcefully(stream)


class FaultyStream(ByteStream):
    """A stream that meets its fate after `limit` bytes: of writes, or of reads where the fate is one of reads."""

    def __init__(
        self, stream: ByteStream, fate: Fate, limit: int, random: Random, connector: ChaosConnector
    ) -> None:
        self._stream = stream
        self._fate = fate
        self._limit = limit
        self._random = random
        self._connector = connector
        self._written = 0
        self._read = 0
        self._met = False
        self._slow_reads = 0
        self._closed = anyio.Event()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes

    # -- reading --------------------------------------------------------------------------------------------------

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._met and self._fate is Fate.TRUNCATE:
            await anyio.aclose_forcefully(self._stream)
            raise anyio.EndOfStream
        trickles = self._met and self._fate is Fate.TRICKLE
        data = await self._stream.receive(PIECE_BYTES if trickles else max_bytes)
        self._read += len(data)
        if self._fate in FOLLOWS_READS and self._read >= self._limit:
            self._note()
            return await self._suffer_reading(data)
        return data

    async def _suffer_reading(self, data: bytes) -> bytes:
        """The fate's effect on a read that brought `data`: what the client gets of it."""
        if self._fate is Fate.TRUNCATE:
            return data[: (len(data) + 1) // 2]
        if self._fate is Fate.DEAFEN:
            await self._break("the connection broke before the answer came")
        elif self._fate is Fate.STALL:
            await self._stall()
        else:
            self._slow_reads += 1
            if self._slow_reads > SLOW_READS:
                await self._break("the connection broke after it had been slow")
            if self._fate is Fate.DELAY:
                await anyio.sleep(self._random.uniform(0.001, 0.02))
        return data

    # -- writing --------------------------------------------------------------------------------------------------

    async def send(self, item: bytes) -> None:
        self._written += len(item)
        if self._fate in FOLLOWS_WRITES:
            await self._send_until_cut(item)
        elif self._met and self._fate is Fate.STALL:
            await self._stall()
        elif self._met and self._fate is Fate.TRICKLE:
            await self._send_in_pieces(item)
        else:
            if self._met and self._fate is Fate.DELAY:
                await anyio.sleep(self._random.uniform(0.001, 0.05))
            await self._stream.send(item)

    async def _send_until_cut(self, item: bytes) -> None:
        if self._written < self._limit:
            await self._stream.send(item)
            return
        self._note()
        at = self._random.randrange(len(item) + 1)
        await self._stream.send(item[:at])
        if self._fate is Fate.LATE:
            # Whoever closes this stream does not close that one: it lives until its bytes have arrived.
            stream, self._stream = self._stream, _NoStream()
            self._connector.deliver_late(stream, bytes(item[at:]), self._random.uniform(0, LATE_SECONDS))
        await self._break("the connection broke in the middle of a write")

    async def _send_in_pieces(self, item: bytes) -> None:
        pieces = self._random.randrange(1, PIECES)
        step = max(PIECE_BYTES, len(item) // pieces)
        for at in range(0, len(item), step):
            await self._stream.send(item[at : at + step])
            await checkpoint()

    # -- ends -----------------------------------------------------------------------------------------------------

    def _note(self) -> None:
        if not self._met:
            self._met = True
            self._connector.met[self._fate] += 1

    async def _break(self, reason: str) -> None:
        await anyio.aclose_forcefully(self._stream)
        raise anyio.BrokenResourceError from OSError(f"{reason} (chaos)")

    async def _stall(self) -> None:
        await self._closed.wait()
        raise anyio.ClosedResourceError

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self._closed.set()
        await self._stream.aclose()


class _NoStream(ByteStream):
    """What is left of a stream that was taken away."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await checkpoint()
        raise anyio.BrokenResourceError

    async def send(self, item: bytes) -> None:
        await checkpoint()
        raise anyio.BrokenResourceError

    async def send_eof(self) -> None:
        await checkpoint()

    async def aclose(self) -> None:
        await checkpoint()

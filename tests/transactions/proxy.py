"""A proxy before real brokers that understands requests: it holds them back, loses their answers, delivers them late.

Any client can go through it. Each broker has a second address here, and the answers that tell brokers' addresses
are rewritten to these, so that nobody goes round it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from krafka._wire.api import APIS_BY_KEY
from krafka._wire.find_coordinator import FindCoordinatorResponse
from krafka._wire.frames import (
    decode_request,
    decode_response,
    encode_response,
    peek_request,
    response_correlation_id,
)
from krafka._wire.metadata import MetadataResponse
from krafka._wire.produce import ProduceResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from anyio.abc import ByteStream, SocketStream, TaskGroup

    from krafka._wire.schema import Request

BROKEN = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
)
SECONDS = 60.0
LARGEST_FRAME = 100 * 2**20
Address = tuple[str, int]


class Fate(Enum):
    """What becomes of a request that is caught."""

    HOLD = auto()
    """It does not reach the broker before `Caught.deliver`. The client's connection is cut."""
    LOSE_ANSWER = auto()
    """The broker serves it. Instead of handing on the answer, the proxy cuts the client's connection."""


class Caught:
    """One request to be caught, and then the one that was."""

    def __init__(
        self, request_class: type[Request[Any]], fate: Fate, wanted: Callable[[Any], bool] | None
    ) -> None:
        self.fate = fate
        self.request: Any = None
        """The request, decoded, once it was caught."""
        self.seen = anyio.Event()
        """Set when it was caught and the client's connection is cut."""
        self.api_key = request_class.API_KEY
        self._wanted = wanted
        self._version = 0
        self._frame = b""
        self._broker: ByteStream | None = None

    def wants(self, frame: bytes) -> bool:
        """Whether this is the request to be caught."""
        return (
            self.request is None
            and peek_request(frame)[0] == self.api_key
            and (self._wanted is None or self._wanted(decode_request(frame)[1]))
        )

    def take(self, frame: bytes) -> None:
        """The request was caught."""
        header, self.request = decode_request(frame)
        self._version, self._frame = header.version, frame

    def cut(self, broker: ByteStream) -> None:
        """The client's connection is cut; a request that is held goes to the broker on this one, if ever."""
        if self.fate is Fate.HOLD:
            self._broker = broker
        self.seen.set()

    async def forget(self) -> None:
        """Give up a request that is held and was not delivered."""
        if self._broker is not None:
            await anyio.aclose_forcefully(self._broker)

    async def wait(self) -> Any:
        """The request, once it was caught."""
        with anyio.fail_after(SECONDS):
            await self.seen.wait()
        return self.request

    async def deliver(self) -> Any:
        """Let the broker have a request that was held, on the connection that it came on; return the answer."""
        assert self._broker is not None, "nothing is held back"
        broker, self._broker = self._broker, None
        answers = BufferedByteReceiveStream(broker)
        try:
            with anyio.fail_after(SECONDS):
                await broker.send(framed(self._frame))
                while True:
                    frame = await read_frame(answers)
                    # What was under way when the connection was cut is answered first, to nobody.
                    if response_correlation_id(frame) == peek_request(self._frame)[2]:
                        return decode_response(self.request.RESPONSE, self._version, frame)
        finally:
            await anyio.aclose_forcefully(broker)


class Proxy:
    """A second address for every broker of `bootstrap`, while `running()`."""

    def __init__(self, bootstrap: str) -> None:
        self.requests: Counter[int] = Counter()
        """How many requests of each API have come."""
        self._brokers: list[Address] = []
        for address in bootstrap.split(","):
            host, port = address.rsplit(":", 1)
            self._brokers.append((host, int(port)))
        self._addresses: dict[Address, Address] = {}
        self._caught: list[Caught] = []
        self._taken: list[Caught] = []
        self._cut: set[int] = set()

    @property
    def bootstrap(self) -> str:
        """``host:port`` of every broker's second address."""
        return ",".join(f"{host}:{port}" for host, port in self._addresses.values())

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Proxy]:
        """The proxy; leaving it cuts all connections."""
        async with anyio.create_task_group() as tasks:
            for broker in self._brokers:
                await self._listen(broker, tasks)
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    for caught in self._taken:
                        await caught.forget()

    async def _listen(self, broker: Address, tasks: TaskGroup) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        address = listener.extra(anyio.abc.SocketAttribute.local_address)
        assert isinstance(address, tuple)
        self._addresses[broker] = ("127.0.0.1", int(address[1]))

        async def serve(client: SocketStream) -> None:
            async with client:
                await _Link(self, client, broker).run()

        async def listen() -> None:
            async with listener:
                await listener.serve(serve)

        tasks.start_soon(listen)

    # -- faults ---------------------------------------------------------------------------------------------------

    def catch(
        self,
        request_class: type[Request[Any]],
        fate: Fate = Fate.HOLD,
        *,
        wanted: Callable[[Any], bool] | None = None,
    ) -> Caught:
        """Catch the next request of this class for which `wanted(request)` is true."""
        caught = Caught(request_class, fate, wanted)
        self._caught.append(caught)
        return caught

    @contextmanager
    def cutting(self, request_class: type[Request[Any]]) -> Iterator[None]:
        """Cut the connection of every such request instead of handing it on, unless it is caught."""
        self._cut.add(request_class.API_KEY)
        try:
            yield
        finally:
            self._cut.remove(request_class.API_KEY)

    def cuts(self, frame: bytes) -> bool:
        """Whether this request is to be dropped, and the connection cut."""
        return peek_request(frame)[0] in self._cut

    def find_catch(self, frame: bytes) -> Caught | None:
        """Whoever wants this request."""
        for caught in self._caught:
            if caught.wants(frame):
                self._caught.remove(caught)
                self._taken.append(caught)
                return caught
        return None

    # -- addresses ------------------------------------------------------------------------------------------------

    def rewritten(self, api_key: int, version: int, frame: bytes) -> bytes:
        """An answer with the second address of each broker in place of the first."""
        api = APIS_BY_KEY.get(api_key)
        if api is None or api.response not in (MetadataResponse, FindCoordinatorResponse, ProduceResponse):
            return frame
        response: Any = decode_response(api.response, version, frame)
        if api.response is MetadataResponse:
            places = response.brokers
        elif api.response is ProduceResponse:
            places = response.node_endpoints
        else:
            places = [response, *response.coordinators]
        for place in places:
            place.host, place.port = self._addresses.get((place.host, place.port), (place.host, place.port))
        return b"".join(map(bytes, encode_response(response, version, response_correlation_id(frame))))[4:]


class _Link:
    """One connection of a client and the one to its broker."""

    def __init__(self, proxy: Proxy, client: SocketStream, broker: Address) -> None:
        self._proxy = proxy
        self._client = client
        self._address = broker
        self._versions: dict[int, tuple[int, int]] = {}
        self._lost: dict[int, Caught] = {}
        self._caught: Caught | None = None

    async def run(self) -> None:
        """Hand frames on in both directions until either side, or a fault, ends it."""
        try:
            broker = await anyio.connect_tcp(*self._address)
        except OSError:
            return
        held = False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._until_broken, self._hand_on_requests, broker, tasks)
                tasks.start_soon(self._until_broken, self._hand_on_answers, broker, tasks)
            await anyio.aclose_forcefully(self._client)
            if self._caught is not None:
                held = self._caught.fate is Fate.HOLD
                self._caught.cut(broker)
        finally:
            if not held:
                await anyio.aclose_forcefully(broker)

    async def _until_broken(
        self, hand_on: Callable[[SocketStream], Any], broker: SocketStream, tasks: TaskGroup
    ) -> None:
        with suppress(*BROKEN):
            await hand_on(broker)
        tasks.cancel_scope.cancel()

    async def _hand_on_requests(self, broker: SocketStream) -> None:
        frames = BufferedByteReceiveStream(self._client)
        while True:
            frame = await read_frame(frames)
            self._proxy.requests[peek_request(frame)[0]] += 1
            caught = self._proxy.find_catch(frame)
            if caught is not None:
                caught.take(frame)
                if caught.fate is Fate.HOLD:
                    self._caught = caught
                    return
                self._lost[peek_request(frame)[2]] = caught
            elif self._proxy.cuts(frame):
                return
            api_key, version, correlation_id = peek_request(frame)
            self._versions[correlation_id] = api_key, version
            await broker.send(framed(frame))

    async def _hand_on_answers(self, broker: SocketStream) -> None:
        frames = BufferedByteReceiveStream(broker)
        while True:
            frame = await read_frame(frames)
            correlation_id = response_correlation_id(frame)
            if lost := self._lost.get(correlation_id):
                self._caught = lost
                return
            api_key, version = self._versions.pop(correlation_id)
            await self._client.send(framed(self._proxy.rewritten(api_key, version, frame)))


async def read_frame(stream: BufferedByteReceiveStream) -> bytes:
    """A frame without its size."""
    size = int.from_bytes(await stream.receive_exactly(4))
    assert size <= LARGEST_FRAME
    return await stream.receive_exactly(size)


def framed(frame: bytes) -> bytes:
    """A frame with its size."""
    return len(frame).to_bytes(4) + frame

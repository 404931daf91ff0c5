"""What each request and each answer of a connection goes through: queued, written, matched, told to its owner."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio

from krafka._io import endings
from krafka._io.transport import format_address
from krafka._io.writer import RequestWriter
from krafka._state.framing import FrameReader
from krafka._state.pipeline import PendingRequest, RequestPipeline, throttle_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteStream

    from krafka._io.handshake import ApiVersionTable
    from krafka._wire.schema import Request, Response
    from krafka.errors import KafkaError


class RequestLine:
    """The half of a `Connection` that never waits.

    `address` and `node_id` are a connection's, and `clock` gives seconds. `crashed` is told of an owner that raised,
    which is a bug.
    """

    def __init__(
        self,
        address: tuple[str, int],
        node_id: int | None,
        client_id: str,
        max_frame_size: int,
        max_idle: float,
        clock: Callable[[], float],
        crashed: Callable[[Exception], object],
    ) -> None:
        self.address = address
        self.node_id = node_id
        self.close_reason: KafkaError | None = None
        """Why the connection is closed or closing; None while it is not."""
        self.versions: ApiVersionTable | None = None
        """What the broker told in the handshake; None before."""
        self.throttled_until = -math.inf
        """The time until which the broker wants no requests (KIP-219). Told here, respected by senders."""
        self.last_used = -math.inf
        """When a request was last queued, or a response last received."""
        self.requests_sent = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self._client_id = client_id
        self._max_idle = max_idle
        self._clock = clock
        self._crashed = crashed
        self._frames = FrameReader(max_frame_size, self.peer)
        self._pipeline = RequestPipeline(client_id, self.peer)
        self._writer: RequestWriter | None = None
        self._wakes_at = math.inf
        self._rearm = anyio.Event()

    @property
    def peer(self) -> str:
        """The broker as errors and logs name it."""
        address = format_address(*self.address)
        return f"broker at {address}" if self.node_id is None else f"broker {self.node_id} at {address}"

    @property
    def in_flight(self) -> int:
        """Requests queued or sent that have no outcome yet."""
        return self._pipeline.in_flight

    def is_usable_at(self, now: float | None) -> bool:
        """`Connection.is_usable`, for those who know the time."""
        if self.versions is None or self.close_reason is not None:
            return False
        if self._pipeline.in_flight > 0:
            return True
        idle = (self._clock() if now is None else now) - self.last_used
        return idle < self._max_idle

    def begin(
        self, stream: ByteStream, next_correlation_id: int, broke: Callable[[Exception], object]
    ) -> None:
        """Queue and write requests from now on; `broke` is told of the error after which nothing can be written."""
        self._pipeline = RequestPipeline(self._client_id, self.peer, next_correlation_id)
        self._writer = RequestWriter(stream, self._pipeline, wrote=self._wrote, broke=broke)

    def put(
        self,
        request: Request[Any],
        version: int,
        on_response: Callable[[Any, float], object],
        expects_response: bool,
        timeout: float,
        now: float,
        through: bool = False,
    ) -> None:
        """As `Connection.post`, for those who know all of it."""
        if self.close_reason is not None or self._writer is None:
            on_response(endings.refusal(self.peer, self.close_reason), now)
            return
        deadline = now + timeout
        pending = self._pipeline.queue(request, version, on_response, expects_response, timeout, deadline)
        self.last_used = now
        if deadline < self._wakes_at:
            self._rearm.set()
        if through:
            self._pipeline.let_through(pending)
        self._writer.push()

    def take(self, data: bytes) -> None:
        """Give the answers that `data` completes to their owners. Raises `ProtocolError` at bytes that are none."""
        now = self.last_used = self._clock()
        self.bytes_received += len(data)
        self._frames.take_in(data)
        while (frame := self._frames.next_frame()) is not None:
            pending, response = self._pipeline.match(frame)
            wait = throttle_seconds(pending, response)
            if wait > 0:
                self.throttled_until = max(self.throttled_until, now + wait)
            self._deliver(pending, response, now)

    def _deliver(self, pending: PendingRequest, outcome: Response | KafkaError | None, now: float) -> None:
        try:
            pending.on_outcome(outcome, now)
        except Exception as error:
            self._crashed(error)

    def _wrote(self, requests: int, size: int) -> None:
        self.requests_sent += requests
        self.bytes_sent += size
        while (pending := self._pipeline.pop_unconfirmed()) is not None:
            self._deliver(pending, None, self._clock())

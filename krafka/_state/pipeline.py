"""The requests of one connection between being queued and having an outcome, and which answer is whose."""

from __future__ import annotations

import math
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any

from krafka._wire.api import APIS_BY_KEY
from krafka._wire.frames import decode_response, encode_request, frame_length, response_correlation_id
from krafka.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._wire.schema import Buffer, Request, Response

    OnOutcome = Callable[[Any, float], object]

# Frames that wait together are written together up to this size: one call instead of one each.
COALESCED_WRITE_BYTES = 256 * 1024
LARGEST_CORRELATION_ID = 0x7FFF_FFFF

# The first version of each API whose broker answers at once when a quota is exceeded and leaves the
# waiting to the client (KIP-219, `shouldClientThrottle` in Kafka's Java client).
_CLIENT_THROTTLES_FROM = {
    0: 6,  # Produce
    2: 3,  # ListOffsets
    3: 6,  # Metadata
    10: 2,  # FindCoordinator
    18: 2,  # ApiVersions
    19: 3,  # CreateTopics
    22: 1,  # InitProducerId
    24: 1,  # AddPartitionsToTxn
    25: 1,  # AddOffsetsToTxn
    26: 1,  # EndTxn
    28: 1,  # TxnOffsetCommit
}


class PendingRequest:
    """A request that has no outcome yet; `on_outcome(outcome, now)` is called once with it."""

    def __init__(
        self,
        request: Request[Any],
        version: int,
        correlation_id: int,
        parts: list[Buffer],
        on_outcome: OnOutcome,
        expects_response: bool,
        timeout: float,
        deadline: float,
    ) -> None:
        self.api_key = request.API_KEY
        self.response_class: type[Response] = request.RESPONSE
        self.version = version
        self.correlation_id = correlation_id
        self.parts = parts
        self.on_outcome = on_outcome
        self.expects_response = expects_response
        self.timeout = timeout
        self.deadline = deadline

    @property
    def name(self) -> str:
        """API and version, as errors and logs name the request."""
        return f"{APIS_BY_KEY[self.api_key].name} v{self.version}"


class RequestPipeline:
    """Requests in the order of `queue`, matched with responses in the order in which they were written.

    `client_id` goes into each request's header; `peer` names the broker in errors;
    `next_correlation_id` goes on where the handshake stopped and wraps from 2**31 - 1 to 0.
    """

    def __init__(self, client_id: str, peer: str, next_correlation_id: int = 0) -> None:
        self.answered = 0
        """Responses matched so far."""
        self._client_id = client_id
        self._peer = peer
        self._next_correlation_id = next_correlation_id
        # A request leaves the outbox for one of the other two with its first byte; which one says
        # whether a response will come.
        self._outbox: deque[PendingRequest] = deque()
        self._parked: deque[PendingRequest] = deque()
        self._line = self._outbox
        self._awaiting: deque[PendingRequest] = deque()
        self._unconfirmed: deque[PendingRequest] = deque()

    @property
    def in_flight(self) -> int:
        """Requests without an outcome."""
        return len(self._outbox) + len(self._awaiting) + len(self._unconfirmed) + len(self._parked)

    @property
    def has_queued(self) -> bool:
        """Whether there is something to write."""
        return len(self._outbox) > 0

    def queue(
        self,
        request: Request[Any],
        version: int,
        on_outcome: OnOutcome,
        expects_response: bool,
        timeout: float,
        deadline: float,
    ) -> PendingRequest:
        """Encode a request and put it behind the others; an encoding error leaves everything as it was."""
        correlation_id = self._next_correlation_id
        parts = encode_request(request, version, correlation_id, self._client_id)
        self._next_correlation_id = (correlation_id + 1) & LARGEST_CORRELATION_ID
        pending = PendingRequest(
            request,
            version,
            correlation_id,
            parts,
            on_outcome,
            expects_response,
            timeout,
            deadline,
        )
        self._line.append(pending)
        return pending

    def park(self) -> None:
        """Keep what is queued from now on until `unpark`; what is queued already goes out as ever."""
        self._line = self._parked

    def unpark(self) -> None:
        """Let go what was kept, in its order."""
        self._outbox += self._parked
        self._parked.clear()
        self._line = self._outbox

    def let_through(self, pending: PendingRequest) -> None:
        """Take the request that was queued last past those kept by `park`, and keep its bytes out of tracebacks."""
        self._line.remove(pending)
        self._outbox.append(pending)
        # The repr of a list of bytes is all of them, that of a memoryview none.
        veiled: list[Buffer] = [memoryview(b"".join(pending.parts))]
        pending.parts = veiled

    def take_chunk(self) -> tuple[list[Buffer], int, int]:
        """What to write next, its bytes, and how many requests it is: written in part from here on."""
        parts: list[Buffer] = []
        size = count = 0
        while self._outbox and size < COALESCED_WRITE_BYTES:
            pending = self._outbox.popleft()
            size += frame_length(pending.parts)
            if count:
                parts += pending.parts
            else:
                parts = pending.parts
            count += 1
            pending.parts = []
            (self._awaiting if pending.expects_response else self._unconfirmed).append(pending)
        return parts, size, count

    def pop_unconfirmed(self) -> PendingRequest | None:
        """The next request that is written and gets no response, None when there is none."""
        return self._unconfirmed.popleft() if self._unconfirmed else None

    def match(self, frame: memoryview) -> tuple[PendingRequest, Response]:
        """Whose response this is, and the response. Raises `ProtocolError`, and then no request has left."""
        correlation_id = response_correlation_id(frame)
        if not self._awaiting:
            raise ProtocolError(
                f"{self._peer} sent a response (correlation id {correlation_id}) while no request was open"
            )
        pending = self._awaiting[0]
        if pending.correlation_id != correlation_id:
            raise ProtocolError(
                f"{self._peer} answered with correlation id {correlation_id} where that of {pending.name}, "
                f"{pending.correlation_id}, is next; Kafka answers in order"
            )
        response = decode_response(pending.response_class, pending.version, frame)
        self._awaiting.popleft()
        self.answered += 1
        return pending, response

    def earliest_deadline(self) -> PendingRequest | None:
        """The request whose time is up first, written or not; None when there is none."""
        return min(
            chain(self._unconfirmed, self._awaiting, self._outbox, self._parked),
            key=lambda pending: pending.deadline,
            default=None,
        )

    def drain(self) -> tuple[list[PendingRequest], list[PendingRequest]]:
        """Remove and give all requests: those written at least in part, then those never written."""
        written = [*self._unconfirmed, *self._awaiting]
        queued = [*self._outbox, *self._parked]
        self._unconfirmed.clear()
        self._awaiting.clear()
        self._outbox.clear()
        self._parked.clear()
        return written, queued


def throttle_seconds(pending: PendingRequest, response: Response) -> float:
    """For how long the broker wants no more requests because of a quota (KIP-219); 0 for not at all."""
    throttle_time_ms: int = getattr(response, "throttle_time_ms", 0)
    if throttle_time_ms <= 0 or pending.version < _CLIENT_THROTTLES_FROM.get(pending.api_key, math.inf):
        return 0.0
    return throttle_time_ms / 1000

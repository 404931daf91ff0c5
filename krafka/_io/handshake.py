"""Agree with a broker, on a fresh stream, on how to talk: the API versions both sides know (KIP-35, KIP-511).

The steps see only `Exchange`, one request and its raw answer at a time, so that further steps
(authentication) go between the versions and the first request of the producer.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from krafka._io.transport import tls_failure
from krafka._state.framing import CORRELATION_ID_BYTES
from krafka._wire.api import APIS_BY_KEY, negotiate
from krafka._wire.api_versions import ApiVersionsRequest, ApiVersionsResponse
from krafka._wire.frames import decode_response, encode_request, response_correlation_id
from krafka.errors import (
    ConnectionFailedError,
    ProtocolError,
    UnsupportedVersionError,
    error_for_code,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import ByteStream

    from krafka._io.connection import ConnectionOptions
    from krafka._state.framing import FrameReader
    from krafka._wire.schema import Request, Response

    ResponseT = TypeVar("ResponseT", bound=Response)

_UNSUPPORTED_VERSION = 35
_ERROR_CODE_BYTES = 2
_OLDEST_KAFKA = "2.1"
# Enough for every version step a broker may ask for, and an end to one that never agrees.
_MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ApiVersionTable:
    """What one broker told about itself.

    `ranges` has the lowest and highest version by API key; `finalized_features` the cluster-wide level
    by feature name (KIP-584), such as `transaction.version`, valid as of `finalized_features_epoch`
    (-1 when the broker tells none). `peer` names the broker in errors.
    """

    peer: str
    ranges: Mapping[int, tuple[int, int]]
    finalized_features: Mapping[str, int] = field(default_factory=dict)
    finalized_features_epoch: int = -1
    throttle_time_ms: int = 0

    def supports(self, request_class: type[Request[Any]]) -> bool:
        """Whether there is a version of this API that both sides speak."""
        return self._negotiate(request_class.API_KEY) is not None

    def version_for(self, request_class: type[Request[Any]]) -> int:
        """The highest version both sides speak. Raises `UnsupportedVersionError` naming both ranges."""
        version = self._negotiate(request_class.API_KEY)
        if version is None:
            raise self._no_common_version(request_class.API_KEY)
        return version

    def _negotiate(self, api_key: int) -> int | None:
        offered = self.ranges.get(api_key)
        return None if offered is None else negotiate(APIS_BY_KEY[api_key], *offered)

    def _no_common_version(self, api_key: int) -> UnsupportedVersionError:
        api = APIS_BY_KEY[api_key]
        ours = f"krafka speaks {api.name} versions {api.min_version} to {api.max_version}"
        offered = self.ranges.get(api_key)
        if offered is None:
            return UnsupportedVersionError(f"{ours}; {self.peer} does not offer this API")
        if offered[1] < api.min_version:
            advice = f"the broker is too old: Kafka {_OLDEST_KAFKA} or later is needed"
        else:
            advice = "the broker has dropped what this krafka speaks: upgrade krafka"
        return UnsupportedVersionError(f"{ours}; {self.peer} offers {offered[0]} to {offered[1]}; {advice}")


class Exchange(Protocol):
    """One request out and its answer in, while nothing else uses the stream."""

    @property
    def peer(self) -> str:
        """The broker's name in errors."""
        ...

    async def __call__(self, request: Request[Any], version: int) -> memoryview:
        """The whole answering frame, header included. Raises `ConnectionFailedError` or `ProtocolError`."""
        ...


class StreamExchange:
    """`Exchange` over a stream whose reader and writer have not started yet."""

    def __init__(
        self, stream: ByteStream, frames: FrameReader, *, client_id: str, peer: str, host: str
    ) -> None:
        self.peer = peer
        self.bytes_sent = 0
        self.bytes_received = 0
        self.requests_sent = 0
        self._stream = stream
        self._frames = frames
        self._client_id = client_id
        self._host = host
        self.early_end_advice = _EARLY_END_ADVICE
        """What else an error says when the connection ends before an answer came."""
        self.waiting_for = _WAITING_FOR_VERSIONS
        """What an error says of the time that was not enough."""
        self._answers: deque[memoryview] = deque()

    async def __call__(self, request: Request[Any], version: int) -> memoryview:
        name = f"{APIS_BY_KEY[request.API_KEY].name} v{version}"
        correlation_id = self.requests_sent
        # As a memoryview, since the variables of a traceback may be shown and it may hold a password.
        data = memoryview(b"".join(encode_request(request, version, correlation_id, self._client_id)))
        try:
            await self._stream.send(data)  # type: ignore[arg-type]  # every stream takes any buffer
            self.requests_sent += 1
            self.bytes_sent += len(data)
            while not self._answers:
                received = await self._stream.receive()
                self.bytes_received += len(received)
                self._answers.extend(self._frames.feed(received))
        except anyio.EndOfStream as error:
            raise self._closed_early(name) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            # A client learns only now that its certificate is not accepted: TLS 1.3 has the server judge it last.
            if (failure := tls_failure(error, self._host, self.peer)) is not None:
                raise failure from error
            reason = str(error.__cause__ or error) or type(error).__name__
            raise ConnectionFailedError(
                f"the connection to {self.peer} broke before {name} was answered: {reason}; "
                f"{self.early_end_advice}"
            ) from error
        answer = self._answers.popleft()
        if (received_id := response_correlation_id(answer)) != correlation_id:
            raise ProtocolError(
                f"{self.peer} answered {name} with correlation id {received_id} instead of {correlation_id}; "
                "the bytes are not Kafka's or the stream is damaged"
            )
        return answer

    async def ask(self, request: Request[ResponseT], version: int) -> ResponseT:
        """The answer, decoded. Raises as a call does."""
        return decode_response(request.RESPONSE, version, await self(request, version))  # type: ignore[return-value]

    def check_drained(self) -> None:
        """Raises `ProtocolError` when the broker sent answers nobody had asked for."""
        if self._answers:
            raise ProtocolError(
                f"{self.peer} sent {len(self._answers)} response(s) more than it was asked for"
            )

    def _closed_early(self, name: str) -> ConnectionFailedError:
        if held := self._frames.held_bytes:
            return ConnectionFailedError(
                f"{self.peer} closed the connection in the middle of its answer to {name}, after {held} bytes"
            )
        return ConnectionFailedError(
            f"{self.peer} closed the connection instead of answering {name}; {self.early_end_advice}"
        )


_EARLY_END_ADVICE = (
    "if the port speaks TLS, set tls=True; if it is behind a proxy or load balancer, see whether that "
    "reaches the broker"
)


_WAITING_FOR_VERSIONS = "it may be overloaded or hung, or the port may speak TLS (tls=True) or not be Kafka's"


async def shake_hands(
    exchange: StreamExchange, options: ConnectionOptions, host: str
) -> tuple[ApiVersionTable, float]:
    """What the broker speaks, and for how many seconds it takes this client for who it is (`math.inf`: no limit).

    Raises `ConnectionFailedError`, also at the end of `connect_timeout`, and what trying again does not mend:
    `AuthenticationError` and `UnsupportedVersionError`.
    """
    with anyio.move_on_after(options.connect_timeout):
        try:
            versions = await negotiate_versions(
                exchange, software_name=options.software_name, software_version=options.software_version
            )
            lifetime = math.inf
            if options.authenticator is not None:
                lifetime = await options.authenticator.log_in(exchange, versions, host)
            exchange.check_drained()
        except ProtocolError as error:
            # Whatever answers there may be replaced by a broker, and other addresses may be right.
            raise ConnectionFailedError(str(error)) from error
        return versions, lifetime
    raise ConnectionFailedError(
        f"{exchange.peer} took the connection but did not finish the handshake within "
        f"{options.connect_timeout:g} s (connect_timeout); {exchange.waiting_for}"
    )


async def negotiate_versions(
    exchange: Exchange, *, software_name: str, software_version: str
) -> ApiVersionTable:
    """Ask the broker which API versions it speaks, in the highest version of ApiVersions both know.

    A broker too old for the version asked says so in version 0 and with its own range, and is asked
    again on the same connection (KIP-511). Raises `ProtocolError` for an answer that makes no sense,
    `UnsupportedVersionError` when there is no version of ApiVersions in common.
    """
    api = APIS_BY_KEY[ApiVersionsRequest.API_KEY]
    request = ApiVersionsRequest(client_software_name=software_name, client_software_version=software_version)
    version = api.max_version
    for _ in range(_MAX_ATTEMPTS):
        frame = await exchange(request, version)
        error_code = _peek_error_code(frame, exchange.peer)
        if error_code == _UNSUPPORTED_VERSION and version > 0:
            version = _downgraded(decode_response(ApiVersionsResponse, 0, frame), version)
            continue
        if error_code:
            raise error_for_code(error_code, f"{exchange.peer} refused ApiVersions v{version}")
        return _table(decode_response(ApiVersionsResponse, version, frame), exchange.peer)
    raise UnsupportedVersionError(
        f"{exchange.peer} refused every version of ApiVersions it was offered, down to {version}"
    )


def _peek_error_code(frame: memoryview, peer: str) -> int:
    body = frame[CORRELATION_ID_BYTES : CORRELATION_ID_BYTES + _ERROR_CODE_BYTES]
    if len(body) < _ERROR_CODE_BYTES:
        raise ProtocolError(f"{peer} answered ApiVersions with {len(frame)} bytes, too few for an error code")
    return int.from_bytes(body, "big", signed=True)


def _downgraded(refusal: ApiVersionsResponse, refused: int) -> int:
    """The version to ask next: what the broker names as its highest, 0 when it names none below."""
    for offered in refusal.api_keys:
        if offered.api_key == ApiVersionsRequest.API_KEY and 0 <= offered.max_version < refused:
            return offered.max_version
    return 0


def _table(response: ApiVersionsResponse, peer: str) -> ApiVersionTable:
    if not response.api_keys:
        raise ProtocolError(f"{peer} answered ApiVersions with an empty list of APIs")
    return ApiVersionTable(
        peer=peer,
        ranges={api.api_key: (api.min_version, api.max_version) for api in response.api_keys},
        finalized_features={
            feature.name: feature.max_version_level for feature in response.finalized_features
        },
        finalized_features_epoch=response.finalized_features_epoch,
        throttle_time_ms=response.throttle_time_ms,
    )

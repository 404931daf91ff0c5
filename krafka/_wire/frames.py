"""Whole frames: requests and responses with their size and header, from either side of the connection.

A frame on the wire is a four-byte size, a header and a message. The header of a flexible version has tagged
fields of its own (KIP-482), save an ApiVersions response's. Encoding gives all of it; decoding takes what
follows the size.

Encoding returns a list of parts to be sent in order. A buffer of 1 KiB or more in a `records` or `bytes`
field is one of the parts, not a copy: it must not change until the frame is sent. Every problem with a value
is a ValueError or a TypeError that names the field, every problem with received bytes a ProtocolError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from krafka._speedups import wire_decode
from krafka._speedups.wire_decode import (
    decode_message,
    decode_response,
    peek_request,
    response_correlation_id,
)
from krafka._speedups.wire_encode import encode_message, encode_request, encode_response, frame_length
from krafka.errors import ProtocolError

from .api import APIS_BY_KEY

if TYPE_CHECKING:
    from .schema import Buffer, Records, Request, Response

__all__ = [
    "RequestHeader",
    "decode_message",
    "decode_request",
    "decode_response",
    "encode_message",
    "encode_request",
    "encode_response",
    "frame_length",
    "joined_records",
    "peek_request",
    "response_correlation_id",
]


class RequestHeader(NamedTuple):
    """Who asks for what: the part of a request frame ahead of the message."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str | None


def decode_request(frame: Buffer) -> tuple[RequestHeader, Request[Response]]:
    """A request as a broker sees it; `peek_request` reads the fixed part of one whose version is unknown.

    Raises ProtocolError for an API or a version that is not in `krafka._wire.api`, and for malformed bytes.
    """
    api_key, version, correlation_id = peek_request(frame)
    api = APIS_BY_KEY.get(api_key)
    if api is None:
        raise ProtocolError(f"a request has the api key {api_key}, which is not one of {sorted(APIS_BY_KEY)}")
    request = api.request
    if not request.MIN_VERSION <= version <= request.MAX_VERSION:
        raise ProtocolError(
            f"{api.name} request v{version}: this version is not known, "
            f"{request.MIN_VERSION} to {request.MAX_VERSION} are"
        )
    client_id, message = wire_decode.decode_request(request, version, frame)
    return RequestHeader(api_key, version, correlation_id, client_id), message


def joined_records(records: Records) -> bytes:
    """A `records` field as one `bytes`, however many buffers it was given as."""
    if isinstance(records, (list, tuple)):
        return b"".join(records)
    return bytes(records)  # type: ignore[arg-type]  # the sequences the codec takes are lists and tuples

"""Cut a byte stream from a broker into Kafka's size-prefixed frames, trusting nothing it claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_PREFIX_BYTES = 4
CORRELATION_ID_BYTES = 4

_TLS_CONTENT_TYPES = frozenset((0x14, 0x15, 0x16, 0x17))
_TLS_MAJOR_VERSION = 0x03


def recognise_foreign_protocol(first_bytes: bytes) -> str | None:
    """What speaks with these first bytes if it is not Kafka, and what to do about it; None when unknown."""
    if (
        len(first_bytes) >= 2
        and first_bytes[0] in _TLS_CONTENT_TYPES
        and first_bytes[1] == _TLS_MAJOR_VERSION
    ):
        return "the port speaks TLS; set tls=True or use the broker's PLAINTEXT port"
    if first_bytes.startswith(b"HTTP"):
        return "an HTTP server answers on this port; check host and port"
    if first_bytes.startswith(b"SSH-"):
        return "an SSH server answers on this port; check host and port"
    return None


class FrameReader:
    """Bytes in, whole frames out, for one connection.

    `max_frame_size` bounds a frame in bytes, without its size prefix; `peer` names the broker in errors.
    What is held never exceeds the bytes that arrived, whatever size a frame claims. After a
    `ProtocolError` the stream has no known frame boundary any more: drop the reader and the connection.
    """

    def __init__(self, max_frame_size: int, peer: str) -> None:
        self._max_frame_size = max_frame_size
        self._peer = peer
        self._held = bytearray()
        self._needed = SIZE_PREFIX_BYTES
        self._saw_frame = False

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that has begun and is not complete."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """The frames that `data` completes, in order, each without its size prefix; take them all.

        The frames are views, of `data` itself when it holds them whole. Raises `ProtocolError` at a size
        no response can have, after the frames before it.
        """
        held = self._held
        view = memoryview(data)
        size = int.from_bytes(data[:SIZE_PREFIX_BYTES], "big", signed=True)
        if (
            size + SIZE_PREFIX_BYTES == len(data)
            and CORRELATION_ID_BYTES <= size <= self._max_frame_size
            and not held
        ):
            # One whole answer and nothing else, as one who waits for it gets it.
            self._saw_frame = True
            yield view[SIZE_PREFIX_BYTES:]
            return
        if held:
            held += data
            if len(held) < self._needed:
                return
            # The views handed out keep the old buffer; it must not be resized under them.
            self._held = bytearray()
            view = memoryview(held)
        start = 0
        available = len(view)
        self._needed = SIZE_PREFIX_BYTES
        while available - start >= SIZE_PREFIX_BYTES:
            body = start + SIZE_PREFIX_BYTES
            size = int.from_bytes(view[start:body], "big", signed=True)
            if not CORRELATION_ID_BYTES <= size <= self._max_frame_size:
                raise self._bad_size(size, bytes(view[start:body]))
            end = body + size
            if end > available:
                self._needed = SIZE_PREFIX_BYTES + size
                break
            self._saw_frame = True
            yield view[body:end]
            start = end
        if start < available:
            self._held += view[start:]

    def _bad_size(self, size: int, prefix: bytes) -> ProtocolError:
        if not self._saw_frame and (foreign := recognise_foreign_protocol(prefix)):
            return ProtocolError(f"{self._peer} does not answer in Kafka's protocol: {foreign}")
        if size > self._max_frame_size:
            limit = f"the limit is {self._max_frame_size} bytes (max_response_size)"
        else:
            limit = f"a response has at least {CORRELATION_ID_BYTES} bytes"
        return ProtocolError(
            f"{self._peer} announced a response of {size} bytes (size prefix {prefix.hex(' ')}); {limit}; "
            "either the bytes are not Kafka's or the stream is damaged"
        )
